"""One background job: it reads the events of a generator in a thread of its own."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import uuid4

from explorer.texts.translate import N_
from pruning_core.evaluation.thread_pool import configured_kernel_threads
from pruning_core.history.unfinished import Carried
from pruning_core.types import Cancelled, PruningError, ResourceFailed

MakeEvents = Callable[[], Iterator[object]]
"""Starts the work. It is called once, in the job's thread; the iterator gives the job's events."""

WAITING = object()
"""No event of a job: its iterator gives it while the next event takes long, so that the job can be
stopped meanwhile."""

ACTIVE = frozenset({"queued", "running"})
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """The state of a job at one moment.

    status: queued | running | done | failed | cancelled.
    error: one sentence, for a failed or cancelled job.
    started, finished: seconds of `time.time`.
    ahead: the number of jobs that run before this queued job.
    about: the object that the page passed when it started the job, unchanged.
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
        """True while the job is queued or running."""
        return self.status in ACTIVE

    @property
    def result(self) -> object | None:
        """The last event of a job that is done, else None."""
        return self.events[-1] if self.status == "done" and self.events else None

    @property
    def seconds(self) -> float:
        """The computing time so far."""
        return 0.0 if self.started is None else (self.finished or time.time()) - self.started


class Job:
    """One piece of work. `stop()` asks it to stop, which it does before the next event.

    carried: its folder on disk, from which it can continue after a restart. The folder is deleted
    when the job has ended, unless something else than its owner or its work ended it.
    Any thread may read it.
    """

    def __init__(
        self,
        owner: str,
        kind: str,
        title: str,
        make_events: MakeEvents,
        max_seconds: float,
        max_events: int,
        about: object = None,
        carried: Carried | None = None,
    ) -> None:
        self.id = uuid4().hex
        self.owner = owner
        self.kind = kind
        self.title = title
        self.about = about
        self.cancel = threading.Event()
        self._make_events: MakeEvents | None = make_events
        self._carried = carried
        self._unwanted = False
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
        """queued | running | done | failed | cancelled.

        A queued job counts as cancelled as soon as it is asked to stop.
        """
        stopped_in_queue = self._status == "queued" and self.cancel.is_set()
        return "cancelled" if stopped_in_queue else self._status

    @property
    def active(self) -> bool:
        """True while the job is queued or running."""
        return self.status in ACTIVE

    def stop(self, *, wanted: bool) -> None:
        """Asks it to stop. wanted: by its owner, so that it will not continue."""
        with self._lock:
            self._unwanted = self._unwanted or wanted
            self.cancel.set()
            waiting = self._status == "queued"
        if waiting:
            self._leave_folder(over=False)

    def snapshot(self, since: int = 0, ahead: int = 0) -> Snapshot:
        """The state now. since: leaves out that many first events, which the page already has."""
        with self._lock:
            return Snapshot(
                id=self.id,
                kind=self.kind,
                title=self.title,
                status=self.status,
                events=tuple(self._events[since:]),
                error=self._error,
                started=self._started,
                finished=self._finished,
                ahead=ahead,
                about=self.about,
            )

    def run(self, abandoned: Callable[[], bool]) -> None:
        """Does the work in the calling thread. Never raises.

        abandoned: returns True when the owner has had no open page for too long.
        """
        make_events = self._make_events
        self._make_events = None
        if self.cancel.is_set() or make_events is None:
            return self._finish("cancelled", N_("It was stopped before it started."))
        with self._lock:
            self._status = "running"
            self._started = time.time()
        try:
            with configured_kernel_threads():
                self._read_events(make_events(), abandoned)
        except Cancelled:
            self._finish("cancelled", N_("It was stopped; nothing was changed."))
        except PruningError as problem:
            if isinstance(problem, ResourceFailed):  # the work itself can continue
                self._leave_folder(over=False)
            self._finish("failed", str(problem))
        # All errors: the code of a user's own network or data runs here and can raise any, no
        # code above a thread catches them: the job would stay "running" and the queue would stop.
        except Exception as problem:
            LOG.exception("job failed", extra={"fields": {"kind": self.kind}})
            self._finish(
                "failed",
                N_("It failed unexpectedly ({problem}); the server's log has the details.").format(
                    problem=type(problem).__name__
                ),
            )
        else:
            self._finish("done", None)

    def _read_events(self, events: Iterator[object], abandoned: Callable[[], bool]) -> None:
        try:
            for event in events:
                if event is not WAITING:
                    self._add_event(event)
                self._check_limits(abandoned)
        finally:
            close = getattr(events, "close", None)
            if close is not None:
                close()

    def _add_event(self, event: object) -> None:
        with self._lock:
            if len(self._events) >= self._max_events:
                raise PruningError(
                    N_(
                        "It reported more than {steps} steps and was stopped; ask for less work."
                    ).format(steps=self._max_events)
                )
            self._events.append(event)

    def _check_limits(self, abandoned: Callable[[], bool]) -> None:
        if abandoned():
            self.cancel.set()
        if self.cancel.is_set():
            raise Cancelled
        if self._started is not None and time.time() - self._started > self._max_seconds:
            raise PruningError(
                N_(
                    "It took longer than {minutes} minutes and was stopped; ask for less work."
                ).format(minutes=f"{self._max_seconds / 60:.0f}")
            )

    def _leave_folder(self, *, over: bool) -> None:
        carried = self._carried
        self._carried = None
        if carried is not None:
            carried.close(delete=self._unwanted or over)

    def _finish(self, status: str, error: str | None) -> None:
        self._leave_folder(over=status != "cancelled")
        with self._lock:
            self._status = status
            self._error = error
            self._finished = time.time()
