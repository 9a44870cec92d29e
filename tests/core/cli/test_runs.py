"""`pruning runs` and `pruning replay`."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pruning_core.cli.main import main
from pruning_core.evaluation.accuracy import Judge
from pruning_core.history import History, evaluated_plan
from pruning_core.pipeline import choose_masks, counts, probe_split, pruned_copy
from pruning_core.plan import Plan
from pruning_core.studies import fingerprint
from pruning_core.workspaces import open_workspace
from tests.core.history.history_runs import example


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    monkeypatch.setenv("PRUNING_EXPLORER_HISTORY", str(tmp_path / "history"))
    return History(tmp_path / "history")


def test_runs_are_listed_tagged_exported_deleted_and_imported(
    history: History, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs"]) == 0
    assert "no run yet" in capsys.readouterr().err
    first = example()
    second = example(state="failed", sentence="It was too hot.", started=first.started + 60)
    for run in (first, second):
        history.save(run)
    assert main(["runs", "tag", first.id[:8], "--tags", "a,b", "--note", "good", "--pin"]) == 0
    assert main(["runs"]) == 0
    listed = capsys.readouterr().out
    assert f"{first.id}  fine-tune         lenet5/digits  filter  top-1 0.8500" in listed
    assert "[a, b]  pinned" in listed
    assert listed.index(first.id) < listed.index(second.id)  # although the second is newer
    assert main(["runs", "show", first.id, second.id]) == 0
    shown = capsys.readouterr().out
    assert "95% [0.8200, 0.8800]  n = 359, test split" in shown
    assert "It was too hot." in shown
    for name in ("runs.zip", "runs.csv"):
        assert main(["runs", "export", "--file", str(tmp_path / name)]) == 0
    assert (tmp_path / "runs.csv").read_text().count("\n") == 3
    assert main(["runs", "delete", first.id]) == 0
    assert "1 run deleted; undo" in capsys.readouterr().err
    assert main(["runs", "list", "--json"]) == 0
    assert [run["id"] for run in json.loads(capsys.readouterr().out)] == [second.id]
    assert main(["runs", "restore", first.id]) == 0
    history.delete([first.id])
    history.purge(older=0.0)
    assert main(["runs", "import", "--file", str(tmp_path / "runs.zip")]) == 0
    assert "1 new runs; 1 were there already" in capsys.readouterr().err
    assert history.get(first.id).pinned
    for wrong in (["show"], ["show", "zz"], ["export"], ["import"], ["tag", "zz"]):
        assert main(["runs", *wrong]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_replay_gives_the_same_values_or_says_what_differs(
    history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = Plan(model="lenet5", sparsity=0.6, granularity="kernel", probe=100)
    space = open_workspace(plan.model, plan.dataset)
    _, masks = choose_masks(plan, space)
    judge = Judge.of(space.dataset)
    split = probe_split(plan, space)
    dense = judge.evaluate(space.model, split)
    pruned = judge.evaluate(pruned_copy(plan, space, masks), split)
    base = fingerprint(space)
    kept = evaluated_plan(plan, base, masks, counts(plan, space, masks), dense, pruned, {})
    history.save(*kept)
    (run,) = history.runs()
    assert main(["replay", run.id, "--device", "cpu"]) == 0
    printed = capsys.readouterr()
    assert printed.out.count("equal") == 2
    assert "then" not in printed.err
    other = {"dense": replace(run.values["dense"], value=0.123), "pruned": run.values["pruned"]}
    history.save(replace(run, values=other, machine={**run.machine, "processor": "Z80"}))
    assert main(["replay", run.id, "--device", "cpu"]) == 1
    printed = capsys.readouterr()
    assert "0.123 then" in printed.out
    assert "processor: Z80 then" in printed.err
    refused = {
        "an unfinished run": example(state="failed"),
        "a search": example(kind="search"),
        "another network": example(),
    }
    for name, wrong in refused.items():
        history.save(wrong)
        assert main(["replay", wrong.id]) == 2, name
        assert "replayed" in capsys.readouterr().err, name
