"""What commands and pages keep: finished, failed and interrupted runs, with their tensors."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pruning_core.cli.main import main
from pruning_core.history import History, Keeping, Run, kept_run, kept_search, kept_study
from pruning_core.history.tensors import (
    ANSWERS,
    CURVES,
    MASKS,
    pack_answers,
    unpack_answers,
    unpack_curves,
    unpack_masks,
)
from pruning_core.pipeline import prune
from pruning_core.plan import Plan
from pruning_core.search.candidates import Candidate, Judged
from pruning_core.search.run import SearchResult, SearchSettings
from pruning_core.studies import Measurement, Result, RunFailed, RunFinished, Study
from pruning_core.studies import Run as Part
from pruning_core.tasks import TASKS, change
from pruning_core.tasks.task import joined
from pruning_core.training.config import TrainConfig
from pruning_core.types import Finished, PruningError, ResourceFailed
from pruning_core.workspaces import Workspace, open_workspace

PLAN = Plan(model="lenet5", dataset="digits", sparsity=0.8, fine_tune=TrainConfig(epochs=1))


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    monkeypatch.setenv("PRUNING_EXPLORER_HISTORY", str(tmp_path / "history"))
    return History(tmp_path / "history")


def test_pruning_run_keeps_what_its_files_say_and_replays_exactly(
    history: History, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(PLAN.to_json())
    out = tmp_path / "out"
    command = ["run", str(plan), "--out", str(out), "--device", "cpu"]
    assert main(command) == 0
    (run,) = history.runs()
    assert f"kept in the run history as {run.id}" in capsys.readouterr().err
    report = json.loads((out / "report.json").read_text())
    assert {state: own.value for state, own in run.values.items()} == {
        state: own["top1"] for state, own in report["measured"].items()
    }
    assert (run.kind, run.state, run.read_plan()) == ("run", "finished", PLAN)
    assert run.counts.items() <= report["computed"].items()
    assert run.costs["parameters"] == report["computed"]["nonzeros"] / run.counts["parameters"]
    assert run.machine["threads"] == report["threads"]
    assert (run.seconds or 0.0) > 0.0
    masks = unpack_masks(history.file(run, MASKS) or b"")
    written = load_file(out / "masks.safetensors")
    assert masks.keys() <= written.keys()
    assert all(torch.equal(mask.flatten(), written[n].flatten()) for n, mask in masks.items())
    answers = unpack_answers(history.file(run, ANSWERS) or b"", run.task.name)
    assert answers["tuned"].value == pytest.approx(run.values["tuned"].value)
    assert change(answers["dense"], answers["tuned"]).n == run.values["dense"].n
    curves = unpack_curves(history.file(run, CURVES) or b"")
    assert len(curves.epochs) == 1
    assert curves.steps[-1][0] == 1.0
    capsys.readouterr()
    assert main(["replay", run.id, "--device", "cpu"]) == 0
    printed = capsys.readouterr()
    assert printed.out.count("equal") == len(run.values)
    assert "then" not in printed.err


@cache
def space() -> Workspace:
    return open_workspace("lenet5", "digits")


def test_failed_and_interrupted_runs_are_kept_too(history: History) -> None:
    def broken() -> Iterator[object]:
        yield "begun"
        raise PruningError("It cannot work.")

    start = Run("tune", PLAN.to_json(), "f")
    with pytest.raises(PruningError, match="cannot work"):
        list(kept_run(history, start, PLAN, space(), broken()))
    stopped = kept_run(history, Run("flow", PLAN.to_json(), "f"), PLAN, space(), broken())
    next(stopped)
    stopped.close()  # type: ignore[attr-defined]

    def lost() -> Iterator[object]:
        yield "begun"
        raise ResourceFailed("Its process was ended.")

    with pytest.raises(ResourceFailed):
        list(kept_run(history, Run("run", PLAN.to_json(), "f"), PLAN, space(), lost()))
    assert {run.kind: (run.state, run.sentence) for run in history.runs()} == {
        "run": ("interrupted", "Its process was ended."),
        "tune": ("failed", "It cannot work."),
        "flow": ("interrupted", ""),
    }


def test_a_run_whose_process_ended_was_interrupted(history: History) -> None:
    worker = history.begin(Run("tune", PLAN.to_json(), "f"))
    assert history.runs()[0].state == "running"
    worker.close()  # as the end of its process does
    assert history.runs()[0].state == "interrupted"


def test_a_history_that_cannot_be_written_does_not_break_the_run(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    plan = replace(PLAN, fine_tune=TrainConfig(epochs=0))
    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        *_, keeping, finished = kept_run(
            history, Run("run", plan.to_json(), "f"), plan, space(), prune(plan, space())
        )
    assert isinstance(finished, Finished)
    assert isinstance(keeping, Keeping)
    assert keeping.words.startswith("This run is not in the history. Cannot write")


def test_a_study_keeps_each_run_once_with_failed_ones(history: History) -> None:
    study = Study(Plan(model="lenet5"), compressions=(2.0,), seeds=1)
    first, second = study.runs
    measured = Measurement(359, 0.9, 0.87, 0.93)
    result = Result(first, measured, measured, None, 0, 256, 1000, 500, 8000, 4000, None, None, 2.0)
    done = [RunFinished(1, 2, result, False), RunFailed(2, 2, second, "It cannot work.")]
    for _ in range(2):
        *printed, keeping = kept_study(history, study, "f", space(), iter(done))
        assert printed == done
        assert isinstance(keeping, Keeping)
        runs = history.runs()
        parent = next(run for run in runs if run.kind == "study")
        parts = {run.settings["run"]["criterion"]: run for run in runs if run is not parent}
        assert len(runs) == 3
        assert {run.parent for run in parts.values()} == {parent.id}
        assert parts["magnitude_l1"].costs == {"macs": 0.5, "parameters": 0.5}
        assert parts["random"].sentence == "It cannot work."
        history.delete([parts["magnitude_l1"].id])
        history.restore([parts["magnitude_l1"].id])
    assert isinstance(first, Part)


def test_a_search_keeps_its_best_candidates(history: History) -> None:
    plan = Plan(model="lenet5", granularity="filter", overrides=(("conv1.weight", 0.5),))
    dense = Judged(0.9, 0.9, 0.1)
    candidates = tuple(
        Candidate(n, {"conv1.weight": n / 10}, dense, 0.5, {"macs": 0.5}, "uniform", n == 1)
        for n in (1, 2)
    )
    found = SearchResult(plan, candidates[0], candidates, dense, 2)
    *_, keeping, last = kept_search(history, plan, SearchSettings(), "f", space(), iter([found]))
    assert last is found
    assert isinstance(keeping, Keeping)
    runs = {run.kind: run for run in history.runs()}
    assert len(history.runs()) == 3
    assert runs["candidate"].parent == runs["search"].id == keeping.run.id
    assert runs["search"].costs == {"macs": 0.5}
    low = runs["search"].values["pruned"].low
    high = runs["search"].values["pruned"].high
    assert 0.85 < low < 0.9 < high < 0.95


def test_answers_of_every_task_can_be_compared_in_pairs() -> None:
    classes = torch.randn(8, 3, 2, generator=torch.manual_seed(0))
    task = TASKS["segmentation"]
    targets = classes.argmax(1)
    before = task.summarise(joined([task.measure(classes, targets)]))
    after = task.summarise(joined([task.measure(-classes, targets)]))
    kept = unpack_answers(pack_answers({"a": before, "b": after}), task.name)
    assert change(kept["a"], kept["b"]) == change(before, after)
    assert unpack_answers(pack_answers({"a": before}), "mine:task") == {}
    for broken in (b"", b"\x00" * 30, pack_answers({"a": before})[:-3]):
        with pytest.raises(PruningError, match="are damaged"):
            unpack_answers(broken, task.name)
