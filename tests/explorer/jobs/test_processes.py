"""Worker processes: the same numbers as in the server, and an end for each of them."""

import logging
import os
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from explorer.jobs import processes
from explorer.jobs.job import WAITING
from explorer.jobs.processes import Processes, Worker
from explorer.jobs.work import Events, Work
from explorer.pages.explore.events import how_far_events
from explorer.pages.export.events import latency_events
from explorer.pages.flows.run import flow_events
from explorer.pages.methods.run import study_events
from explorer.pages.search.events import search_events
from explorer.pages.sensitivity.run import scan_events
from explorer.training.engine import training_events
from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig
from pruning_core.types import Finished, PruningError, Step
from pruning_core.workspaces import Workspace, open_workspace
from tests.explorer.jobs import worker_jobs

FUNCTIONS = (
    flow_events,
    how_far_events,
    latency_events,
    scan_events,
    search_events,
    study_events,
    training_events,
)
PLAN = Plan(model="lenet_300_100", sparsity=0.9, fine_tune=TrainConfig(epochs=1, batch_size=359))


@pytest.fixture(scope="module")
def space() -> Workspace:
    return open_workspace(PLAN.model, PLAN.dataset)


@pytest.fixture(scope="module")
def workers() -> Iterator[Processes]:
    """One process serves all tests: it takes two seconds to start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "PATIENCE", 60.0)
        made = Processes()
        yield made
        made.close()


def events(workers: Processes, space: Workspace, function: Events) -> Generator[Any, None, None]:
    """The events without those that only say that it still works."""
    work = Work(PLAN.model, PLAN.dataset, space, function)
    return (event for event in workers.events(work) if event is not WAITING)


def test_a_training_has_the_same_numbers_as_in_the_server(
    workers: Processes, space: Workspace
) -> None:
    here = tuple(training_events(PLAN, space))
    there = tuple(events(workers, space, partial(training_events, PLAN)))
    assert [type(event) for event in there] == [type(event) for event in here]
    steps = [[event for event in own if isinstance(event, Step)] for own in (here, there)]
    assert steps[0] == steps[1]
    assert len(steps[0]) == 3
    one = here[-1]
    other = there[-1]
    assert isinstance(one, Finished)
    assert isinstance(other, Finished)
    weights = other.model.state_dict()
    assert all(torch.equal(own, weights[name]) for name, own in one.model.state_dict().items())
    assert one.tuned is not None
    assert other.tuned is not None
    assert torch.equal(one.tuned.values, other.tuned.values)


def test_the_process_is_kept_has_a_low_priority_and_imports_little(
    workers: Processes, space: Workspace
) -> None:
    asked = partial(worker_jobs.about_the_process, functions=FUNCTIONS)
    ((process, priority, threads, imported),) = events(workers, space, asked)
    assert process != os.getpid()
    assert priority == min(19, os.nice(0) + 10)
    assert (threads, imported) == (1, set())  # after a training
    assert next(events(workers, space, asked))[0] == process


def test_errors_are_those_of_the_job(workers: Processes, space: Workspace) -> None:
    seen: list[object] = []
    with pytest.raises(PruningError, match=r"^The layer 'fc' has no kernels\.$"):
        seen.extend(events(workers, space, worker_jobs.refuses))
    with pytest.raises(Exception, match="in a worker process") as unexpected:
        seen.extend(events(workers, space, worker_jobs.breaks))
    assert unexpected.type.__name__ == "ZeroDivisionError"
    (worker,) = workers._idle
    assert worker.usable


def test_a_stopped_job_ends_between_two_events_and_its_process_is_kept(
    workers: Processes, space: Workspace, tmp_path: Path
) -> None:
    (worker,) = workers._idle
    left = tmp_path / "left"
    running = events(workers, space, partial(worker_jobs.leaves_a_file, path=str(left)))
    assert next(running) == 1
    running.close()
    assert left.exists()
    assert workers._idle == [worker]


def test_what_a_worker_cannot_do_is_done_in_the_server(
    workers: Processes, space: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert list(events(workers, space, partial(lambda own: iter([len(own.layers)])))) == [3]
        renamed = Work("lenet5", "digits", space, partial(worker_jobs.layers))
        assert [event for event in workers.events(renamed) if event is not WAITING] == [3]
    assert caplog.messages == ["job without worker"] * 2


def test_a_process_ends_with_the_server_in_the_middle_of_a_job(
    workers: Processes, space: Workspace
) -> None:
    (worker,) = workers._idle
    running = events(workers, space, worker_jobs.never_ends_a_step)
    assert next(running) == 1
    worker._pipe.close()  # as the system does it when the server is killed
    assert worker._process.wait(60) == 0
    running.close()


PROGRAMS = {
    "import os; os.kill(os.getpid(), 9)": r"ended from outside \(signal 9\).*memory",
    "raise SystemExit(3)": r"ended by itself \(exit status 3\)",
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_process_that_dies_fails_its_job_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setattr(processes, "START", program)
    worker = Worker()
    with pytest.raises(PruningError, match=PROGRAMS[program]):
        list(worker.events(b"job"))
    assert not worker.usable


def test_a_process_that_does_not_stop_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "START", "import time; time.sleep(60)")
    monkeypatch.setattr(processes, "PATIENCE", 0.01)
    monkeypatch.setattr(processes, "LOOK", 0.01)
    worker = Worker()
    running = worker.events(b"job")
    assert next(running) is WAITING
    running.close()
    assert not worker.usable
    assert worker._process.returncode == -9
