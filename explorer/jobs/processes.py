"""Worker processes: jobs compute in them, so that the pages of the server stay quick.

A process is started when a job needs one, and carries out one job at a time; it keeps the network
and the data of its last job. It has a lower priority than the server.
"""

import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection

from explorer.jobs.job import WAITING
from explorer.jobs.work import Work
from explorer.jobs.worker import NOT_PICKLED, STOP, Ended, Request
from explorer.logs import log_event
from explorer.texts.translate import N_
from pruning_core.studies import fingerprint
from pruning_core.types import ResourceFailed

LOOK = 0.25
"""Seconds between two looks whether a job that gives no event is to stop."""
PATIENCE = 5.0
"""Seconds in which a worker stops its job when it is asked to; then the process is ended."""
START = (
    "import sys; sys.path[:] = sys.argv[2:]; "
    "from explorer.jobs.worker import main; main(int(sys.argv[1]))"
)
"""The program of a worker. Without the server's main module: that is a page while one is drawn."""
KILLED = N_(
    "The process of this run was ended from outside (signal {number}), most often because the "
    "memory was used up: ask for less work or smaller batches, then start it again."
)
EXITED = N_(
    "The process of this run ended by itself (exit status {number}): the server's log may say why. "
    "Start the run again."
)


class Elsewhere(Exception):
    """A worker cannot carry out this job."""


class Worker:
    """A process that carries out jobs, and the server's end of the pipe to it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-c", START, str(theirs.fileno()), *sys.path]
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
        self._pipe = Connection(ours.detach())

    @property
    def usable(self) -> bool:
        """Can it carry out another job?"""
        return not self._pipe.closed and self._process.poll() is None

    def events(self, request: bytes) -> Generator[object, None, None]:
        """The events of a job, and WAITING whenever there was none for a while.

        The job is stopped where the iterator is closed before its end. Raises what the job raises,
        ResourceFailed where the process ends, and Elsewhere where it cannot carry out this job.
        """
        ended: Ended | None = None
        try:
            self._pipe.send_bytes(request)
            while ended is None:
                *events, last = self._received(LOOK) or [WAITING]
                if isinstance(last, Ended):
                    ended = last
                else:
                    events.append(last)
                yield from events
        except (EOFError, OSError) as error:
            raise self._lost() from error
        finally:
            if ended is None:
                self._stop()
        if ended.elsewhere:
            raise Elsewhere
        if ended.error is not None:
            raise ended.error
        if ended.unexpected:
            raise type(ended.unexpected, (Exception,), {})("in a worker process, see above")

    def close(self) -> None:
        """Ends the process at once."""
        self._pipe.close()
        self._process.kill()
        self._process.wait()

    def _received(self, seconds: float) -> list[object]:
        """What the process sent; empty where nothing came within that time."""
        if not self._pipe.poll(seconds):
            return []
        return [pickle.loads(item) for item in pickle.loads(self._pipe.recv_bytes())]

    def _stop(self) -> None:
        """Asks the process to stop its job, and ends it where it does not do so soon."""
        until = time.monotonic() + PATIENCE
        with suppress(EOFError, OSError):
            self._pipe.send_bytes(STOP)
            while (left := until - time.monotonic()) > 0:
                if any(isinstance(item, Ended) for item in self._received(left)):
                    return
        self.close()

    def _lost(self) -> ResourceFailed:
        """What to say about a process that ended in the middle of a job."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)  # its pipe closes a moment before
        self.close()
        status = self._process.returncode
        return ResourceFailed(
            KILLED.format(number=-status) if status < 0 else EXITED.format(number=status)
        )


class Processes:
    """The worker processes of a server. Any thread may call any method."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Worker] = []

    def events(self, work: Work) -> Iterator[object]:
        """The events of the work, computed in a worker, and WAITING in between.

        In this process where a worker cannot carry it out: where the network, its task or the
        settings cannot be pickled, or files that the names stand for have changed or are missing.
        """
        try:
            yield from self._elsewhere(work)
        except Elsewhere:
            log_event("job without worker")
            yield from work.here()

    def close(self) -> None:
        """Ends the processes that have no job."""
        with self._lock:
            workers = self._idle
            self._idle = []
        for worker in workers:
            worker.close()

    def _elsewhere(self, work: Work) -> Iterator[object]:
        """The events from a worker. Raises Elsewhere where none can carry out the work."""
        try:
            asked = Request(work.model, work.dataset, fingerprint(work.space), work.function)
            request = pickle.dumps(asked)
        except NOT_PICKLED as error:
            raise Elsewhere from error
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        if worker is None or not worker.usable:
            worker = Worker()
        try:
            yield from worker.events(request)
        finally:
            if worker.usable:
                with self._lock:
                    self._idle.append(worker)
