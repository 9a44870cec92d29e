"""Long work in the background: a job drains a generator of core events in a thread, the page only
looks at snapshots.

Who owns what: a job belongs to the browser that started it (`presence`) and no other browser can
see it. One job computes at a time (`slots`), the others wait their turn. An owner without an open
page keeps its jobs for `grace` seconds, so that a reload or a short loss of connection does no
harm; then they are stopped within one step and forgotten with their results, and `lost` says so to
an owner who comes back. Nothing here knows Streamlit: `alive` says whether an owner is still there,
and threads are daemons that only run core code.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import uuid4

from pruning_core.evaluation.thread_pool import kernels
from pruning_core.types import Cancelled, PruningError

Make = Callable[[], Iterator[object]]
"""Starts the work: called once, in the worker thread; the iterator's items are the job's events."""

ACTIVE = frozenset({"queued", "running"})
MOST_LOST = 200
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """A job at one moment. status: queued | running | done | failed | cancelled; times: seconds of
    `time.time`.

    error: one sentence, for failed and for cancelled jobs; ahead: how many jobs run first while
    this one is queued; about: what the page said the work is for, given back as it was.
    """

    id: str
    kind: str
    title: str
    status: str
    events: tuple[object, ...]
    error: str | None
    started: float | None
    finished: float | None
    ahead: int = 0
    about: object = None

    @property
    def active(self) -> bool:
        """Is it queued or running?"""
        return self.status in ACTIVE

    @property
    def result(self) -> object | None:
        """The last event of a job that is done, else None."""
        return self.events[-1] if self.status == "done" and self.events else None

    @property
    def seconds(self) -> float:
        """Time spent computing so far."""
        return 0.0 if self.started is None else (self.finished or time.time()) - self.started


class Job:
    """One piece of work. `cancel.set()` asks it to stop; it does so before the next event. Safe to
    read from any thread.
    """

    def __init__(
        self,
        owner: str,
        kind: str,
        title: str,
        make: Make,
        max_seconds: float,
        max_events: int,
        about: object = None,
    ) -> None:
        self.id = uuid4().hex
        self.owner = owner
        self.kind = kind
        self.title = title
        self.about = about
        self.cancel = threading.Event()
        self._make: Make | None = make
        self._max_seconds = max_seconds
        self._max_events = max_events
        self._lock = threading.Lock()
        self._status = "queued"
        self._events: list[object] = []
        self._error: str | None = None
        self._started: float | None = None
        self._finished: float | None = None

    @property
    def status(self) -> str:
        """queued | running | done | failed | cancelled. A queued job that was asked to stop counts
        as cancelled at once.
        """
        waiting = self._status == "queued" and self.cancel.is_set()
        return "cancelled" if waiting else self._status

    @property
    def active(self) -> bool:
        """Is it queued or running?"""
        return self.status in ACTIVE

    def snapshot(self, since: int = 0, ahead: int = 0) -> Snapshot:
        """What the page shows; `since` leaves out the events that the page already has."""
        with self._lock:
            events = tuple(self._events[since:])
            times = self._started, self._finished
            return Snapshot(
                self.id,
                self.kind,
                self.title,
                self.status,
                events,
                self._error,
                *times,
                ahead,
                self.about,
            )

    def run(self, gone: Callable[[], bool]) -> None:
        """Do the work in the calling thread; never raises. `gone`: has the owner left for good?"""
        make = self._make
        self._make = None
        if self.cancel.is_set() or make is None:
            return self._finish("cancelled", "It was stopped before it began.")
        with self._lock:
            self._status = "running"
            self._started = time.time()
        try:
            with kernels():
                self._drain(make(), gone)
        except Cancelled:
            self._finish("cancelled", "It was stopped; nothing was changed.")
        except PruningError as problem:
            self._finish("failed", str(problem))
        except Exception as problem:  # the one broad catch: a thread has nobody above it to tell
            LOG.exception("Job %s (%s) failed", self.title, self.id)
            self._finish(
                "failed",
                f"It failed unexpectedly ({type(problem).__name__}); the server's log has the details.",
            )
        else:
            self._finish("done", None)

    def _drain(self, events: Iterator[object], gone: Callable[[], bool]) -> None:
        try:
            for event in events:
                self._keep(event)
                self._check(gone)
        finally:
            close = getattr(events, "close", None)
            if close is not None:
                close()

    def _keep(self, event: object) -> None:
        with self._lock:
            if len(self._events) >= self._max_events:
                raise PruningError(
                    f"It reported more than {self._max_events} steps and was stopped; ask for less work."
                )
            self._events.append(event)

    def _check(self, gone: Callable[[], bool]) -> None:
        if gone():
            self.cancel.set()
        if self.cancel.is_set():
            raise Cancelled
        if self._started is not None and time.time() - self._started > self._max_seconds:
            raise PruningError(
                f"It took longer than {self._max_seconds / 60:.0f} minutes and was stopped; ask for less work."
            )

    def _finish(self, status: str, error: str | None) -> None:
        with self._lock:
            self._status = status
            self._error = error
            self._finished = time.time()


class Jobs:
    """All jobs of the process. Every method may be called from any thread; `owner` is a secret name
    of a browser.

    slots: jobs that compute at the same time; waiting: queued jobs allowed over all sessions;
    active_per_owner, kept_per_owner: limits per owner (older finished jobs are forgotten first);
    grace: seconds that an owner who left keeps the jobs.
    """

    def __init__(
        self,
        alive: Callable[[str], bool] = lambda owner: True,
        *,
        slots: int = 1,
        waiting: int = 8,
        active_per_owner: int = 2,
        kept_per_owner: int = 6,
        grace: float = 60.0,
        max_seconds: float = 2 * 3600.0,
        max_events: int = 500_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._alive = alive
        self._clock = clock
        self._grace = grace
        self._slots = slots
        self._waiting = waiting
        self._active_per_owner = active_per_owner
        self._kept_per_owner = kept_per_owner
        self._max_seconds = max_seconds
        self._max_events = max_events
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        self._queue: deque[Job] = deque()
        self._threads: dict[str, threading.Thread] = {}
        self._missing: dict[str, float] = {}
        self._lost: dict[tuple[str, str], str] = {}

    def start(self, owner: str, kind: str, title: str, make: Make, about: object = None) -> Job:
        """Queue work and start it when a slot is free. kind: for the page to find it again, such as
        "train" or "scan"; about: comes back in its snapshots.

        Raises PruningError when this owner has too many unfinished jobs, or all owners together
        have.
        """
        self.sweep()
        with self._lock:
            mine = [job for job in self._jobs.values() if job.owner == owner and job.active]
            if len(mine) >= self._active_per_owner:
                raise PruningError(
                    f"'{mine[0].title}' is still at work; wait for it or stop it, then start the next one."
                )
            if sum(job.active for job in self._queue) >= self._waiting:
                raise PruningError(
                    "Other people's jobs fill the queue; try again in a few minutes."
                )
            job = Job(owner, kind, title, make, self._max_seconds, self._max_events, about)
            self._jobs[job.id] = job
            self._queue.append(job)
            self._lost.pop((owner, kind), None)
            self._forget_old(owner)
        self._pump()
        return job

    def get(self, owner: str, job_id: str) -> Job | None:
        """The owner's own job, or None."""
        with self._lock:
            job = self._jobs.get(job_id)
        return job if job is not None and job.owner == owner else None

    def snapshot(self, owner: str, job_id: str, since: int = 0) -> Snapshot | None:
        """The owner's own job at this moment, or None; events from number `since` on."""
        job = self.get(owner, job_id)
        return None if job is None else job.snapshot(since, self._ahead(job))

    def of(self, owner: str, kind: str | None = None) -> tuple[Snapshot, ...]:
        """The owner's jobs (of one kind), newest first."""
        self.sweep()
        with self._lock:
            mine = [
                job
                for job in self._jobs.values()
                if job.owner == owner and kind in (None, job.kind)
            ]
        return tuple(job.snapshot(ahead=self._ahead(job)) for job in reversed(mine))

    def stop(self, owner: str, job_id: str) -> None:
        """Ask the owner's own job to stop; it does so within one step. Unknown ids are ignored."""
        job = self.get(owner, job_id)
        if job is not None:
            job.cancel.set()

    def lost(self, owner: str, kind: str) -> str | None:
        """A sentence about the owner's last job of that kind if it was given up because no page was
        open, else None.
        """
        with self._lock:
            return self._lost.get((owner, kind))

    def sweep(self) -> None:
        """Stop the jobs of owners who have left for good, and forget what they had finished."""
        with self._lock:
            for job in list(self._jobs.values()):
                if self._gone(job.owner):
                    job.cancel.set()
                    if not job.active:
                        del self._jobs[job.id]
                        self._note_lost(job)
            owners = {job.owner for job in self._jobs.values()}
            self._missing = {
                owner: since for owner, since in self._missing.items() if owner in owners
            }
            self._queue = deque(job for job in self._queue if job.active)

    def close(self, seconds: float = 5.0) -> None:
        """Stop everything and wait a little for the threads: the process is about to end."""
        with self._lock:
            threads = list(self._threads.values())
            for job in self._jobs.values():
                job.cancel.set()
        for thread in threads:
            thread.join(seconds)

    def _gone(self, owner: str) -> bool:
        with self._lock:
            if self._alive(owner):
                self._missing.pop(owner, None)
                return False
            return self._clock() - self._missing.setdefault(owner, self._clock()) >= self._grace

    def _note_lost(self, job: Job) -> None:
        how = "its result was forgotten" if job.status == "done" else "it was stopped"
        self._lost.pop((job.owner, job.kind), None)
        self._lost[job.owner, job.kind] = (
            f"{job.title}: {how}, because this app was not open in your browser for {self._grace:.0f} seconds. The plan is still "
            "in the address, so it can be started again."
        )
        while len(self._lost) > MOST_LOST:
            del self._lost[next(iter(self._lost))]

    def _ahead(self, job: Job) -> int:
        with self._lock:
            if job not in self._queue:
                return 0
            return len(self._threads) + sum(
                other.active for other in list(self._queue)[: self._queue.index(job)]
            )

    def _forget_old(self, owner: str) -> None:
        finished = [job for job in self._jobs.values() if job.owner == owner and not job.active]
        for job in finished[: max(0, len(finished) - self._kept_per_owner)]:
            del self._jobs[job.id]

    def _pump(self) -> None:
        with self._lock:
            while self._queue and len(self._threads) < self._slots:
                job = self._queue.popleft()
                thread = threading.Thread(
                    target=self._work, args=(job,), name=f"job-{job.kind}-{job.id[:8]}", daemon=True
                )
                self._threads[job.id] = thread
                thread.start()

    def _work(self, job: Job) -> None:
        job.run(lambda: self._gone(job.owner))
        with self._lock:
            del self._threads[job.id]
        self.sweep()
        self._pump()
