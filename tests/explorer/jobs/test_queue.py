"""Background jobs: one runs at a time, owners are separate, and a stop takes one step."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from explorer.jobs.job import Job
from explorer.jobs.queue import JobQueue
from explorer.limits import Limits
from pruning_core.history.unfinished import Jobs
from pruning_core.types import Cancelled, PruningError, ResourceFailed


class Gate:
    """A generator that waits before each step until `release`, so tests need no sleep."""

    def __init__(self, steps: int = 1000) -> None:
        self.steps = steps
        self.go = threading.Semaphore(0)
        self.entered = threading.Event()
        self.made = 0
        self.closed = threading.Event()

    def __call__(self) -> Iterator[int]:
        try:
            self.entered.set()
            for step in range(self.steps):
                self.go.acquire()
                self.made += 1
                yield step
        finally:
            self.closed.set()

    def release(self, steps: int = 1) -> None:
        self.go.release(steps)


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never became true"
        time.sleep(0.005)


def finished(jobs: JobQueue, number: int) -> Job:
    """A job of one step that is over."""
    job = start(jobs, lambda: iter([number]))
    until(lambda: not job.active)
    return job


def start(jobs: JobQueue, make: Callable[[], Iterator[object]], owner: str = "ann") -> Job:
    return jobs.start(owner, "train", "Fine-tuning", make)


@pytest.fixture
def jobs() -> Iterator[JobQueue]:
    made = JobQueue()
    yield made
    made.close(0)


def test_a_job_has_its_events_in_order_and_the_last_is_the_result(jobs: JobQueue) -> None:
    job = start(jobs, lambda: iter(["a", "b", "c"]))
    until(lambda: not job.active)
    snapshot = jobs.snapshot("ann", job.id)
    assert snapshot is not None
    assert (snapshot.status, snapshot.events, snapshot.result, snapshot.error) == (
        "done",
        ("a", "b", "c"),
        "c",
        None,
    )
    assert snapshot.started is not None
    assert snapshot.finished is not None
    assert snapshot.started <= snapshot.finished


def test_since_leaves_out_the_first_events(jobs: JobQueue) -> None:
    job = start(jobs, lambda: iter(range(5)))
    until(lambda: not job.active)
    assert job.snapshot(since=3).events == (3, 4)


def test_a_job_without_events_has_no_result(jobs: JobQueue) -> None:
    job = start(jobs, lambda: iter(()))
    until(lambda: not job.active)
    assert (job.status, job.snapshot().result) == ("done", None)


def test_cancel_stops_within_one_step_and_closes_the_generator(jobs: JobQueue) -> None:
    gate = Gate()
    job = start(jobs, gate)
    gate.release(2)
    until(lambda: len(job.snapshot().events) == 2)
    jobs.stop("ann", job.id)
    gate.release(10)
    until(lambda: job.status == "cancelled")
    assert gate.closed.is_set()
    assert gate.made == 3
    assert job.snapshot().error == "It was stopped; nothing was changed."


def test_a_generator_may_stop_itself_with_cancelled(jobs: JobQueue) -> None:
    def stops() -> Iterator[int]:
        yield 1
        raise Cancelled

    job = start(jobs, stops)
    until(lambda: not job.active)
    assert job.status == "cancelled"


def test_one_job_runs_and_the_next_waits(jobs: JobQueue) -> None:
    first = Gate(1)
    second = Gate(1)
    running = start(jobs, first)
    waiting = start(jobs, second, "bob")
    until(first.entered.is_set)
    snapshot = jobs.snapshot("bob", waiting.id)
    assert snapshot is not None
    assert (running.status, snapshot.status, snapshot.ahead) == ("running", "queued", 1)
    assert not second.entered.is_set()
    first.release()
    until(second.entered.is_set)
    second.release()
    until(lambda: waiting.status == "done")


def test_a_queued_job_is_cancelled_at_once_and_never_starts(jobs: JobQueue) -> None:
    first = Gate(1)
    second = Gate(1)
    start(jobs, first)
    waiting = start(jobs, second)
    waiting.cancel.set()
    assert waiting.status == "cancelled"
    first.release()
    until(lambda: not jobs._threads)
    assert not second.entered.is_set()


def test_a_pruning_error_is_shown_as_it_is(jobs: JobQueue) -> None:
    def refuses() -> Iterator[int]:
        yield from ()
        raise PruningError("The layer 'fc' has no kernels.")

    job = start(jobs, refuses)
    until(lambda: not job.active)
    assert (job.status, job.snapshot().error) == ("failed", "The layer 'fc' has no kernels.")


@pytest.mark.parametrize("where", ["making", "iterating"])
def test_an_unexpected_error_fails_the_job_in_one_sentence_and_is_logged(
    jobs: JobQueue, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    def iterates() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError("secret detail")

    def make() -> Iterator[int]:
        if where == "making":
            raise ZeroDivisionError("secret detail")
        return iterates()

    with caplog.at_level(logging.ERROR):
        job = start(jobs, make)
        until(lambda: not jobs._threads)
    error = job.snapshot().error
    assert job.status == "failed"
    assert error == "It failed unexpectedly (ZeroDivisionError); the server's log has the details."
    assert "secret detail" in caplog.text
    assert start(jobs, lambda: iter([1])).owner == "ann", "the next job can run"


def test_other_owners_cannot_see_or_stop_a_job(jobs: JobQueue) -> None:
    gate = Gate()
    job = start(jobs, gate)
    until(gate.entered.is_set)
    assert jobs.snapshots("bob") == ()
    assert jobs.snapshot("bob", job.id) is None
    jobs.stop("bob", job.id)
    jobs.stop("ann", "no such job")
    assert job.status == "running"
    assert [snapshot.id for snapshot in jobs.snapshots("ann")] == [job.id]
    assert jobs.snapshots("ann", "scan") == ()
    job.cancel.set()
    gate.release()


def test_an_owner_has_a_limited_number_of_active_jobs() -> None:
    jobs = JobQueue(limits=Limits(jobs_per_browser=1))
    gate = Gate()
    job = start(jobs, gate)
    with pytest.raises(PruningError, match="'Fine-tuning' is not finished"):
        start(jobs, gate)
    job.cancel.set()
    gate.release()
    until(lambda: not job.active)
    assert start(jobs, lambda: iter([1])).owner == "ann"


def test_the_queue_is_limited_over_all_owners() -> None:
    jobs = JobQueue(limits=Limits(waiting_jobs=1))
    gate = Gate()
    start(jobs, gate)
    start(jobs, gate, "bob")
    with pytest.raises(PruningError, match="The queue is full"):
        start(jobs, gate, "cid")
    jobs.close(0)
    gate.release()


def test_old_finished_jobs_are_deleted() -> None:
    jobs = JobQueue(max_finished_per_owner=2)
    ids = []
    for number in range(5):
        job = finished(jobs, number)
        ids.append(job.id)
    kept = [snapshot.id for snapshot in jobs.snapshots("ann")]
    assert kept == ids[:-4:-1]
    assert jobs.get("ann", ids[0]) is None


def test_a_closed_tab_stops_and_deletes_the_job_after_the_grace_time() -> None:
    now = [0.0]
    connected = {"ann"}
    jobs = JobQueue(connected.__contains__, Limits(grace_seconds=60), clock=lambda: now[0])
    gate = Gate()
    job = start(jobs, gate)
    gate.release()
    until(lambda: len(job.snapshot().events) == 1)
    connected.clear()
    gate.release()
    until(lambda: len(job.snapshot().events) == 2)
    now[0] = 59.0
    gate.release()
    until(lambda: len(job.snapshot().events) == 3)
    assert job.status == "running"
    now[0] = 61.0
    gate.release()
    until(lambda: job.status == "cancelled")
    assert gate.closed.wait(5)
    until(lambda: not jobs._threads and not jobs._jobs)
    assert not jobs._disconnected_since


def test_the_folder_of_a_job_stays_only_where_it_can_go_on_later(tmp_path: Path) -> None:
    """After a restart of the server or without an open page; not when it ended or was stopped."""
    now = [0.0]
    connected = {"ann"}
    jobs = JobQueue(connected.__contains__, Limits(grace_seconds=60), clock=lambda: now[0])
    folders = Jobs(tmp_path)

    def begun(number: int, make: Callable[[], Iterator[object]]) -> Job:
        carried = folders.begin(f"{number:012}", {"number": number})
        return jobs.start("ann", "train", "Fine-tuning", make, None, carried)

    def left() -> set[object]:
        return {job.description["number"] for job in folders.interrupted()}

    def fail() -> Iterator[object]:
        raise PruningError("No.")

    for number, make in enumerate((lambda: iter([1]), fail)):
        begun(number, make)
        until(lambda: not jobs._threads)
    gate = Gate()
    running = begun(2, gate)
    waiting = begun(3, gate)
    assert len(list(tmp_path.iterdir())) == 2
    for job in (waiting, running):
        jobs.stop("ann", job.id)
    gate.release()
    until(lambda: not running.active and not jobs._threads)
    assert not list(tmp_path.iterdir())
    running = begun(4, gate)
    begun(5, gate)
    jobs.close(0)
    gate.release()
    until(lambda: left() == {4, 5} and not jobs._threads)
    begun(6, gate)
    connected.clear()
    jobs.stop_abandoned()
    now[0] = 61.0
    gate.release()
    until(lambda: left() == {4, 5, 6})


def test_the_folder_of_a_job_whose_process_was_ended_stays(tmp_path: Path) -> None:
    def process_lost() -> Iterator[object]:
        raise ResourceFailed("Its process was ended.")

    folders = Jobs(tmp_path)
    carried = folders.begin("0" * 12, {"number": 0})
    job = JobQueue().start("ann", "train", "Fine-tuning", process_lost, None, carried)
    until(lambda: not job.active)
    assert job.snapshot().error == "Its process was ended."
    assert [own.id for own in folders.interrupted()] == ["0" * 12]


def test_an_owner_who_returns_in_time_keeps_the_job() -> None:
    now = [0.0]
    connected = {"ann"}
    jobs = JobQueue(connected.__contains__, Limits(grace_seconds=60), clock=lambda: now[0])
    gate = Gate()
    job = start(jobs, gate)
    connected.clear()
    jobs.stop_abandoned()
    now[0] = 50.0
    connected.add("ann")
    jobs.stop_abandoned()
    connected.clear()
    now[0] = 100.0
    jobs.stop_abandoned()
    assert not job.cancel.is_set()
    jobs.close(0)
    gate.release()


def test_results_of_an_ended_session_are_deleted() -> None:
    now = [0.0]
    connected = {"ann"}
    jobs = JobQueue(connected.__contains__, Limits(grace_seconds=60), clock=lambda: now[0])
    job = start(jobs, lambda: iter([1]))
    until(lambda: not job.active)
    connected.clear()
    jobs.stop_abandoned()
    now[0] = 61.0
    assert jobs.snapshots("bob") == ()
    assert not jobs._jobs
    assert "its result was deleted" in (jobs.abandoned_notice("ann", "train") or "")


def test_an_owner_who_returns_too_late_has_a_notice_until_the_next_start() -> None:
    now = [0.0]
    connected = {"ann"}
    jobs = JobQueue(connected.__contains__, Limits(grace_seconds=60), clock=lambda: now[0])
    gate = Gate()
    start(jobs, gate)
    until(gate.entered.is_set)
    connected.clear()
    jobs.stop_abandoned()
    now[0] = 61.0
    gate.release()
    until(lambda: not jobs._jobs)
    connected.add("ann")
    assert "Fine-tuning: it was stopped" in (jobs.abandoned_notice("ann", "train") or "")
    assert jobs.abandoned_notice("bob", "train") is None
    assert jobs.abandoned_notice("ann", "scan") is None
    job = start(jobs, lambda: iter([1]))
    until(lambda: not job.active)
    assert jobs.abandoned_notice("ann", "train") is None


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_events": 3}, "more than 3 steps"),
        ({"limits": Limits(job_minutes=-1.0)}, "took longer"),
    ],
)
def test_a_job_without_end_is_stopped(limits: dict[str, Any], message: str) -> None:
    def endless() -> Iterator[int]:
        while True:
            yield 0

    job = start(JobQueue(**limits), endless)
    until(lambda: not job.active)
    assert job.status == "failed"
    assert message in (job.snapshot().error or "")


def test_close_stops_running_and_queued_jobs(jobs: JobQueue) -> None:
    gate = Gate()
    job = start(jobs, gate)
    waiting = start(jobs, gate, "bob")
    until(gate.entered.is_set)
    jobs.close(0)
    gate.release()
    until(lambda: job.status == "cancelled")
    assert waiting.status == "cancelled"
