"""The program of a worker process: it carries out the server's jobs, one after the other.

Both ends of the pipe are ours: requests and events are pickled. It ends when the server closes the
pipe, however the server ended.
"""

import io
import logging
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import SimpleQueue

from torch import Tensor
from torch.storage import TypedStorage, UntypedStorage

from explorer.jobs.work import Events
from explorer.logs import set_up_logs
from pruning_core.evaluation.thread_pool import configured_kernel_threads
from pruning_core.studies import fingerprint
from pruning_core.types import Cancelled, PruningError
from pruning_core.workspaces import Workspace, open_in_worker

STOP = b""
"""The message that asks the worker to stop its job; every other message is a pickled Request."""
NICER = 10
"""How much lower a worker's priority is than the server's (`nice`)."""
PAUSE = 0.1
"""Seconds between two messages to the server: each has all events since the last one."""
LOG = logging.getLogger(__name__)
NOT_PICKLED = (pickle.PicklingError, AttributeError, TypeError, RuntimeError)
"""What `pickle` raises for an object that it cannot write."""


@dataclass(frozen=True)
class Request:
    """A job. fingerprint: of the network and the data that the page has opened by these names."""

    model: str
    dataset: str
    fingerprint: str
    function: Events


@dataclass(frozen=True)
class Ended:
    """The last message about a job.

    error: that ended it; unexpected: the type of any other error, which is in this process's log;
    elsewhere: the server has to carry it out itself, because this process cannot open the same
    network and data, or cannot send them.
    """

    error: PruningError | Cancelled | None = None
    unexpected: str = ""
    elsewhere: bool = False


class Opened:
    """The workspace of the last job."""

    def __init__(self) -> None:
        self._names = ("", "")
        self._fingerprint = ""
        self._space: Workspace | None = None

    def get(self, asked: Request) -> Workspace | None:
        """The workspace that the server has, opened again where the last one is another.

        None where it cannot be opened any more, where its files have changed since, and where its
        parts cannot be pickled.
        """
        space = self._space
        names = (asked.model, asked.dataset)
        if space is None or (names, asked.fingerprint) != (self._names, self._fingerprint):
            space = self._space = None  # before the next one needs memory
            try:
                space = self._space = open_in_worker(*names)
            except PruningError:
                return None
            self._names = names
            self._fingerprint = fingerprint(space)
        same = self._fingerprint == asked.fingerprint
        return space if same and _can_be_sent(space) else None


class _Structure(pickle.Pickler):
    """Pickles all but the numbers."""

    def persistent_id(self, part: object) -> str | None:
        return "numbers" if isinstance(part, Tensor | TypedStorage | UntypedStorage) else None


def _can_be_sent(space: Workspace) -> bool:
    """Can the network and its task be pickled? Every result has one of them."""
    try:
        _Structure(io.BytesIO()).dump((space.model, space.dataset.task))
    except NOT_PICKLED:
        return False
    return True


def main(descriptor: int) -> None:
    """Carries out jobs until the server closes the pipe. descriptor: of this end of the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C: the server ends its workers
    os.nice(NICER)
    set_up_logs()
    pipe = Connection(descriptor)
    jobs: SimpleQueue[bytes] = SimpleQueue()
    messages: SimpleQueue[bytes] = SimpleQueue()
    stop = threading.Event()
    threading.Thread(target=_receive, args=(pipe, jobs, stop), daemon=True).start()
    threading.Thread(target=_send, args=(pipe, messages), daemon=True).start()
    opened = Opened()
    while True:
        messages.put(pickle.dumps(_carried_out(jobs.get(), opened, messages.put, stop)))


def _receive(pipe: Connection, jobs: "SimpleQueue[bytes]", stop: threading.Event) -> None:
    while True:
        try:
            message = pipe.recv_bytes()
        except (EOFError, OSError):
            os._exit(0)  # the server has ended or wants no more of this process
        if message == STOP:
            stop.set()
        else:
            stop.clear()
            jobs.put(message)


def _send(pipe: Connection, messages: "SimpleQueue[bytes]") -> None:
    """Sends what is there at once, then what came during each pause: the server wakes seldom."""
    while True:
        waiting = [messages.get()]
        while not messages.empty():
            waiting.append(messages.get())
        try:
            pipe.send_bytes(pickle.dumps(waiting))
        except OSError:
            os._exit(0)
        time.sleep(PAUSE)


def _carried_out(
    request: bytes, opened: Opened, emit: Callable[[bytes], object], stop: threading.Event
) -> Ended:
    """Emits the pickled events of a job, until it is asked to stop."""
    try:
        asked: Request = pickle.loads(request)
        with configured_kernel_threads():
            space = opened.get(asked)
            if space is None:
                return Ended(elsewhere=True)
            for event in asked.function(space):
                emit(pickle.dumps(event))
                if stop.is_set():
                    break
    except (PruningError, Cancelled) as error:
        return Ended(error)
    # All errors: code of a user's own network or data runs here, as in `Job.run`.
    except Exception as error:
        LOG.exception("job failed in worker")
        return Ended(unexpected=type(error).__name__)
    return Ended()
