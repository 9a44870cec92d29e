"""Studies: their runs, the results of each run, and that finished runs stay on disk."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import fmean, stdev

import pytest
import torch

from pruning_core import studies
from pruning_core.granularity import granularity
from pruning_core.pipeline import prune
from pruning_core.plan import Plan
from pruning_core.studies import (
    BASELINES,
    Result,
    Run,
    RunFailed,
    RunFinished,
    RunStarted,
    Study,
    run_plan,
    run_study,
    runnable_runs,
    unsupported_methods,
)
from pruning_core.studies.run import seed_workspace
from pruning_core.training.config import TrainConfig
from pruning_core.types import Finished, Step
from pruning_core.workspace import Workspace, open_workspace
from tests.core.toy import refusal

ROOT = Path(__file__).resolve().parents[3]
TUNE = TrainConfig(epochs=1, batch_size=128)
SMALL = Study(Plan(model="lenet5", fine_tune=TUNE), compressions=(2.0, 8.0), seeds=2, images=256)


@pytest.fixture(scope="module")
def space() -> Workspace:
    return open_workspace("lenet5", "digits")


@pytest.fixture(scope="module")
def finished(
    space: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, tuple[Result, ...]]:
    folder = tmp_path_factory.mktemp("study")
    list(run_study(SMALL, space, folder))
    return folder, studies.load_results(SMALL, folder)


def measured(events: list[object]) -> list[RunFinished]:
    return [event for event in events if isinstance(event, RunFinished)]


def same(one: Result, other: Result) -> bool:
    return replace(one, seconds=0.0) == replace(other, seconds=0.0)


def test_baselines_are_always_included_and_studies_with_equal_content_are_equal() -> None:
    one = Study(
        criteria=("wanda", "snip"), compressions=(8.0, 2.0, 2.0), granularities=("filter", "fine")
    )
    other = Study(
        Plan(criterion="snip", sparsity=0.9, seed=5, fine_tune=TrainConfig(seed=9)),
        ("random", "snip", "wanda"),
    )
    assert one.criteria == other.criteria == (*BASELINES, "snip", "wanda")
    assert one.compressions == (2.0, 8.0)
    assert one.granularities == ("fine", "filter")
    assert replace(one, compressions=studies.COMPRESSIONS, granularities=("fine",)) == other


def test_runs_are_ordered_by_seed_and_appear_once() -> None:
    asked = Study(
        criteria=("snip",), granularities=("fine", "2:4"), compressions=(2.0, 4.0), seeds=2
    )
    found = asked.runs
    assert len(set(found)) == len(found) == 2 * 3 * (2 + 1)
    assert [run.seed for run in found] == sorted(run.seed for run in found)
    assert {run.compression for run in found if run.granularity == "2:4"} == {
        1 / (1 - granularity("2:4").fixed_ratio)
    }


@pytest.mark.parametrize("compression", [2.0, 4.0, 8.0, 16.0, 32.0])
def test_the_plan_of_a_run_has_its_sparsity_and_its_seed(compression: float) -> None:
    plan = run_plan(SMALL, Run("snip", "kernel", compression, 7))
    assert plan.sparsity == 1 - 1 / compression
    assert (plan.criterion, plan.granularity, plan.seed, plan.fine_tune.seed) == (
        "snip",
        "kernel",
        7,
        7,
    )
    assert plan.fine_tune == replace(TUNE, seed=7)


def test_a_study_read_from_its_json_is_equal() -> None:
    asked = replace(
        SMALL,
        criteria=("seven", "my_module:score"),
        granularities=("block:2x2", "fine"),
        compressions=(1.5, 3.0),
    )
    assert Study.from_json(asked.to_json()) == asked
    assert Study.from_json("{}") == Study()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ("[]", "JSON object"),
        ('{"version": 9}', "version 9"),
        ('{"criteria": ["snap"]}', "did you mean 'snip'"),
        ('{"criteria": "snip"}', "list of names"),
        ('{"granularities": []}', "at least one"),
        ('{"granularities": ["kernal"]}', "did you mean 'kernel'"),
        ('{"compressions": []}', "at least one"),
        ('{"compressions": [1]}', "outside 1"),
        ('{"compressions": [true]}', "list of numbers"),
        ('{"seeds": 0}', "outside 1"),
        ('{"seeds": 2.5}', "whole number"),
        ('{"images": -1}', "negative"),
        ('{"seads": 3}', "did you mean 'seeds'"),
        ('{"plan": {"allocation": "manual"}}', "manual"),
        ('{"plan": {"overrides": {"conv1.weight": 0.5}}}', "set by hand"),
        ('{"plan": {"model": 3}}', "model"),
    ],
)
def test_invalid_json_is_refused_in_one_sentence(text: str, words: str) -> None:
    assert words in refusal(lambda: Study.from_json(text))


def test_a_run_gives_the_numbers_of_the_pipeline(
    space: Workspace, finished: tuple[Path, tuple[Result, ...]]
) -> None:
    """The oracle is `pipeline.prune` with the run's plan on the seed's images."""
    for found in finished[1][-2:]:
        mine = seed_workspace(space, SMALL.images, found.run.seed)
        done = list(prune(run_plan(SMALL, found.run), mine))[-1]
        assert isinstance(done, Finished)
        assert found.after is not None
        assert (found.initial.top1, found.before.top1, found.after.top1) == (
            done.dense.top1,
            done.pruned.top1,
            done.tuned.top1,
        )
        assert (found.after.n, found.after.low, found.after.high) == (
            len(space.dataset.test),
            *done.tuned.interval,
        )
        assert (found.parameters, found.nonzeros) == (done.report.parameters, done.report.nonzeros)
        assert (found.macs, found.macs_effective) == (done.report.macs, done.report.macs_effective)
        assert found.compression == done.report.parameters / done.report.nonzeros
        assert found.speedup == done.report.macs / done.report.macs_effective
        assert (found.epochs, found.images) == (1, 256)


def test_each_seed_has_its_own_images_with_equal_class_shares(space: Workspace) -> None:
    parts = [seed_workspace(space, 200, seed).dataset.train for seed in (0, 1, 0)]
    assert [len(part) for part in parts] == [200, 200, 200]
    assert torch.equal(parts[0].x, parts[2].x)
    assert not torch.equal(parts[0].x, parts[1].x)
    shares = [torch.bincount(part.labels, minlength=10) for part in parts]
    assert int((shares[0] - shares[1]).abs().max()) <= 1
    assert (
        len(seed_workspace(space, 0, 3).dataset.train)
        == len(seed_workspace(space, 10**9, 3).dataset.train)
        == len(space.dataset.train)
    )


def test_seeds_give_different_accuracies(finished: tuple[Path, tuple[Result, ...]]) -> None:
    after = {found.run: found.final.top1 for found in finished[1]}
    differing = [
        run for run in after if run.seed == 0 and after[run] != after[replace(run, seed=1)]
    ]
    assert differing


def test_zero_epochs_give_no_accuracy_after_fine_tuning(space: Workspace, tmp_path: Path) -> None:
    asked = replace(
        SMALL,
        plan=Plan(model="lenet5", fine_tune=TrainConfig(epochs=0)),
        compressions=(2.0,),
        seeds=1,
    )
    list(run_study(asked, space, tmp_path))
    found = studies.load_results(asked, tmp_path)
    assert [each.after for each in found] == [None, None]
    assert all(each.final == each.before for each in found)
    row = next(csv.DictReader(io.StringIO(studies.to_csv(asked, found))))
    assert row["after_top1"] == ""


def test_a_finished_study_is_loaded_from_disk(
    space: Workspace, finished: tuple[Path, tuple[Result, ...]]
) -> None:
    events = list(run_study(SMALL, space, finished[0]))
    assert all(isinstance(event, RunFinished) and event.from_disk for event in events)
    assert tuple(event.result for event in measured(events)) == finished[1]
    assert [event.number for event in measured(events)] == list(range(1, 9))


def test_a_closed_study_continues_with_the_interrupted_run(
    space: Workspace, tmp_path: Path, finished: tuple[Path, tuple[Result, ...]]
) -> None:
    events = run_study(SMALL, space, tmp_path)
    seen = list(islice(events, 8))
    events.close()
    before = len(measured(seen))
    assert isinstance(seen[-1], Step | RunStarted | RunFinished)
    assert studies.count_saved_runs(tmp_path) == before < 8
    rest = list(run_study(SMALL, space, tmp_path))
    assert [event.from_disk for event in measured(rest)] == [True] * before + [False] * (8 - before)
    assert all(map(same, studies.load_results(SMALL, tmp_path), finished[1]))


def test_a_killed_process_loses_only_its_current_run(space: Workspace, tmp_path: Path) -> None:
    slow = replace(SMALL, plan=replace(SMALL.plan, fine_tune=replace(TUNE, epochs=12)))
    asked = tmp_path / "study.json"
    folder = tmp_path / "runs"
    asked.write_text(slow.to_json())
    command = [
        sys.executable,
        "-m",
        "pruning_core",
        "study",
        str(asked),
        "--folder",
        str(folder),
        "--device",
        "cpu",
    ]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    killed = subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while (
        studies.count_saved_runs(folder) < 2
        and killed.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    there = studies.load_results(slow, folder)
    assert 2 <= len(there) == studies.count_saved_runs(folder) < 8
    again = measured(list(run_study(slow, space, folder)))
    assert [event.from_disk for event in again] == [True] * len(there) + [False] * (8 - len(there))
    assert tuple(event.result for event in again[: len(there)]) == there


DAMAGES = {
    "half": lambda text: text[: len(text) // 2],
    "not json": lambda text: "\x00" * 40,
    "a list": lambda text: "[]",
    "another run": lambda text: text.replace('"seed": 0', '"seed": 1'),
    "a share above 1": lambda text: json.dumps(
        json.loads(text) | {"initial": json.loads(text)["initial"] | {"top1": 7.0}}
    ),
    "a missing number": lambda text: json.dumps(
        {k: v for k, v in json.loads(text).items() if k != "nonzeros"}
    ),
    "a text for a number": lambda text: json.dumps(json.loads(text) | {"nonzeros": "many"}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_measured_again(
    damage: str, space: Workspace, tmp_path: Path, finished: tuple[Path, tuple[Result, ...]]
) -> None:
    asked = replace(SMALL, compressions=(2.0,), seeds=1)
    list(run_study(asked, space, tmp_path))
    path = next(tmp_path.glob("random-*"))
    path.write_text(DAMAGES[damage](path.read_text()))
    assert len(studies.load_results(asked, tmp_path)) == 1
    events = measured(list(run_study(asked, space, tmp_path)))
    assert [event.from_disk for event in events] == [True, False]
    assert same(events[1].result, finished[1][1])


def test_a_failed_run_is_reported_and_the_others_continue(space: Workspace, tmp_path: Path) -> None:
    wild = replace(
        SMALL,
        plan=Plan(model="lenet5", fine_tune=TrainConfig(epochs=1, lr=1e30, batch_size=16)),
        seeds=1,
    )
    events = list(run_study(wild, space, tmp_path))
    failed = [event for event in events if isinstance(event, RunFailed)]
    assert failed
    assert len(failed) + len(measured(events)) == 4
    assert studies.count_saved_runs(tmp_path) == len(measured(events))
    assert all("learning rate" in event.reason for event in failed)


def test_methods_that_cannot_prune_the_network_are_left_out_with_a_reason(space: Workspace) -> None:
    asked = replace(SMALL, criteria=("bn_scale",), granularities=("fine", "head"))
    without = unsupported_methods(asked, space)
    assert {("bn_scale", "fine"), ("random", "head"), ("magnitude_l1", "head")} <= without.keys()
    assert all(len(why.split()) > 4 for why in without.values())
    assert {(run.criterion, run.granularity) for run in runnable_runs(asked, space)} == {
        ("magnitude_l1", "fine"),
        ("random", "fine"),
    }
    nothing = replace(asked, granularities=("head",))
    assert "No method" in refusal(lambda: list(run_study(nothing, space, Path("never made"))))
    assert not Path("never made").exists()


def test_a_folder_that_cannot_be_made_is_reported(space: Workspace, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be made" in refusal(
        lambda: list(run_study(SMALL, space, tmp_path / "file" / "study"))
    )


def test_each_study_and_each_network_has_its_own_folder(space: Workspace, tmp_path: Path) -> None:
    base = studies.fingerprint(space)
    other = studies.fingerprint(
        replace(space, model=open_workspace("lenet_300_100", "digits").model)
    )
    asked = (
        SMALL,
        replace(SMALL, images=128),
        replace(SMALL, plan=replace(SMALL.plan, allocation="global")),
    )
    folders = {
        studies.study_folder(each, what, tmp_path) for each in asked for what in (base, other)
    }
    assert len(folders) == 6
    assert studies.study_folder(SMALL, base).parent == studies.studies_root()


def test_saved_studies_of_a_network_come_newest_first(space: Workspace, tmp_path: Path) -> None:
    base = studies.fingerprint(space)
    one = replace(SMALL, seeds=1)
    for when, asked in enumerate((SMALL, one)):
        folder = studies.study_folder(asked, base, tmp_path)
        next(run_study(asked, space, folder))
        os.utime(folder / "study.json", (when, when))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "study.json").write_text('{"base": ')
    assert studies.saved_studies(base, tmp_path) == (one, SMALL)
    assert studies.saved_studies("another", tmp_path) == ()


def test_the_summary_has_means_and_spreads_over_seeds(
    finished: tuple[Path, tuple[Result, ...]],
) -> None:
    rows = studies.summary(finished[1])
    assert [(row.criterion, row.asked) for row in rows] == [
        (name, c) for name in BASELINES for c in (2.0, 8.0)
    ]
    for row in rows:
        mine = [
            found
            for found in finished[1]
            if (found.run.criterion, found.run.compression) == (row.criterion, row.asked)
        ]
        tops = [found.final.top1 for found in mine]
        assert row.seeds == len(mine) == 2
        assert (row.after, row.spread) == (fmean(tops), stdev(tops))
        assert row.compression == fmean(found.compression for found in mine)
    assert studies.summary(finished[1][:1])[0].spread is None
    assert studies.summary(()) == ()
    assert all(row.criterion in studies.to_text(rows) for row in rows)


def test_the_csv_has_one_row_per_run_with_all_columns(
    finished: tuple[Path, tuple[Result, ...]],
) -> None:
    rows = list(csv.DictReader(io.StringIO(studies.to_csv(SMALL, finished[1]))))
    assert tuple(rows[0]) == studies.COLUMNS
    assert len(rows) == 8
    for row, found in zip(rows, finished[1], strict=True):
        assert float(row["compression"]) == pytest.approx(
            int(row["parameters"]) / int(row["nonzeros"]), abs=1e-4
        )
        assert float(row["speedup"]) == pytest.approx(
            int(row["macs"]) / int(row["macs_effective"]), abs=1e-4
        )
        assert float(row["after_top1"]) == pytest.approx(found.final.top1, abs=1e-6)
        assert float(row["initial_low"]) < float(row["initial_top1"]) < float(row["initial_high"])
        assert (row["criterion"], row["seed"], row["n"]) == (
            found.run.criterion,
            str(found.run.seed),
            "359",
        )


def test_the_included_study_has_75_runs() -> None:
    asked = Study.from_json((ROOT / "benchmarks/studies/resnet20.json").read_text())
    assert len(asked.criteria) == 5
    assert asked.compressions == studies.COMPRESSIONS
    assert len(asked.runs) == 75
