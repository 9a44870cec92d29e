"""Flows and studies of the pages, as the history keeps them, replay to exactly their values."""

from pathlib import Path

import pytest

from explorer.pages.flows.run import flow_events
from explorer.pages.methods.run import study_events
from pruning_core.history import (
    History,
    Keeping,
    Replayed,
    Run,
    kept_run,
    kept_study,
    replay,
)
from pruning_core.plan import Plan
from pruning_core.studies import Study, fingerprint
from pruning_core.training.config import TrainConfig
from pruning_core.workspaces import Workspace, open_workspace

TUNE = TrainConfig(epochs=1, batch_size=256)


@pytest.fixture(scope="module")
def space() -> Workspace:
    return open_workspace("lenet5", "digits")


def replayed(history: History, run: Run) -> Replayed:
    *_, last = replay(history.get(run.id), history)
    assert isinstance(last, Replayed)
    return last


def test_a_flow_with_new_initial_weights(space: Workspace, tmp_path: Path) -> None:
    plan = Plan(
        model="lenet5",
        sparsity=0.8,
        flow="lottery",
        schedule="iterative:1",
        seed=3,
        fine_tune=TUNE,
        probe=64,
    )
    history = History(tmp_path)
    run = Run("flow", plan.to_json(), fingerprint(space))
    list(kept_run(history, run, plan, space, flow_events(plan, space, None)))
    again = replayed(history, run)
    assert "tuned" in again.then
    assert (again.then, again.differences) == (again.now, ())


def test_a_run_of_a_study(
    space: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNING_EXPLORER_DATA", str(tmp_path))
    plan = Plan(model="lenet5", fine_tune=TUNE)
    study = Study(plan, ("random",), compressions=(4.0,), seeds=1, images=256)
    history = History(tmp_path / "history")
    events = kept_study(history, study, fingerprint(space), space, study_events(study, space))
    assert isinstance(list(events)[-1], Keeping)
    runs = {run.names["criterion"]: run for run in history.runs() if run.kind == "study_run"}
    again = replayed(history, runs["random"])
    assert again.then.keys() == {"dense", "pruned", "tuned"}
    assert (again.then, again.differences) == (again.now, ())
