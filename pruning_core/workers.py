"""Workers that several threads give jobs to; the jobs of a worker that ended are done again."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from pruning_core.backends import Backend, Source, Submit
from pruning_core.types import Cancelled, ResourceFailed

MAX_LOSSES = 3
"""The work ends with an error when workers are lost this often with no job finished between."""


@dataclass(frozen=True)
class WorkerLost:
    """A worker process ended, and its job is done again. sentence: for the user."""

    sentence: str


class WorkersFailed(ResourceFailed):
    """Workers ended again and again."""


class Workers:
    """The workers of a backend. Any thread may call `run`.

    lost: called with a WorkerLost whenever workers end.
    """

    def __init__(
        self, backend: Backend, source: Source, lost: Callable[[WorkerLost], object]
    ) -> None:
        self._backend = backend
        self._source = source
        self._report = lost
        self._ended: tuple[type[BaseException], ...] = (*backend.worker_lost, CancelledError)
        self._lock = threading.Lock()
        self._open = ExitStack()
        self._submit: Submit | None = None
        self._losses = 0
        self._closed = False

    def run(self, *job: Any) -> Any:
        """What the runner gives for the job, from any worker.

        Raises what the job raises, Cancelled after `close`, and WorkersFailed where workers were
        lost `MAX_LOSSES` times with no job finished between.
        """
        while True:
            submit = self._opened()
            try:
                result = submit(*job).result()
            except self._ended as error:
                self._reopen(submit, error)
                continue
            self._losses = 0
            return result

    def close(self) -> None:
        """Cancels jobs that have not started; `run` raises Cancelled from now on."""
        with self._lock:
            self._closed = True
            self._open.close()

    def check_open(self) -> None:
        """Raises Cancelled after `close`."""
        if self._closed:
            raise Cancelled

    def _opened(self) -> Submit:
        with self._lock:
            if self._closed:
                raise Cancelled
            if self._submit is None:
                self._submit = self._open.enter_context(self._backend.open(self._source))
            return self._submit

    def _reopen(self, lost: Submit, error: BaseException) -> None:
        """Closes the backend that lost workers, unless another thread did so before."""
        with self._lock:
            if self._closed:
                raise Cancelled from error
            if self._submit is not lost:
                return
            self._submit = None
            self._open.close()
            self._losses += 1
            if self._losses >= MAX_LOSSES:
                raise WorkersFailed(
                    f"Workers ended {self._losses} times in a row: they may need more memory, so "
                    f"try fewer of them ({type(error).__name__})."
                ) from error
        self._report(
            WorkerLost(f"A worker ended ({type(error).__name__}); what it computed is done again.")
        )


Emit = Callable[[object], None]
Producer = Callable[[Emit], None]
"""Carries out a part of the work in a thread of its own, and passes its events to `emit`."""


def parallel(
    backend: Backend, source: Source, producers_of: Callable[[Workers], Sequence[Producer]]
) -> Iterator[Any]:
    """What all producers emit, and WorkerLost, in the order of arrival.

    producers_of: gives the producers, which run jobs on these workers.
    The error of a producer is raised here. Where one raises an error, and where the generator is
    closed, the others end after their jobs. It ends when all threads have ended.
    """
    events: SimpleQueue[Callable[[], Sequence[object]]] = SimpleQueue()

    def emit(event: object) -> None:
        events.put(lambda: (event,))

    def ended(producer: Future[None]) -> None:
        events.put(lambda: producer.result() or ())

    workers = Workers(backend, source, emit)
    try:
        producers = producers_of(workers)
        with ThreadPoolExecutor(len(producers)) as pool:
            try:
                for producer in producers:
                    pool.submit(producer, emit).add_done_callback(ended)
                left = len(producers)
                while left:
                    event = events.get()()  # raises the error of a producer
                    left -= not event
                    yield from event
            finally:
                workers.close()
    finally:
        workers.close()
