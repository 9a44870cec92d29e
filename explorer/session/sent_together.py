"""Several elements that reach the browser at once."""

from asyncio import AbstractEventLoop, get_running_loop
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, Timer

from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.scriptrunner import get_script_run_ctx

Send = Callable[[ForwardMsg], None]
PATIENCE = 0.05
"""Seconds after which what is drawn so far is sent, though more follows."""
CHECK = 1.0
"""Seconds after which a thread that waits for the server's loop asks whether it still runs."""
_loops: list[AbstractEventLoop] = []
"""The loop of this process's server; empty without a server."""


def keep_loop() -> None:
    """Notes the running event loop: it is the one that sends to browsers."""
    _loops[:] = [get_running_loop()]


@contextmanager
def sent_together(patience: float = PATIENCE) -> Iterator[None]:
    """A context whose elements are sent at its end, or when `patience` seconds are over.

    The browser draws the page again for whatever has come meanwhile: 15 to 20 ms each time. So
    elements that are drawn quickly one after the other are best sent together. Use it only where no
    parallel part is drawn: its thread shares the script's context, so the order of what both send
    could change. Never use it inside another one: the server's loop would wait for the outer one,
    whose timer may wait for the loop.
    """
    context = get_script_run_ctx()
    if context is None:
        yield
        return
    send = context._enqueue
    held = _Held(send)
    timer = Timer(patience, held.release)
    timer.daemon = True
    timer.start()
    context._enqueue = held.add
    try:
        yield
    finally:
        timer.cancel()
        context._enqueue = send
        held.release()


class _Held:
    """Messages that wait until all are sent; later ones are sent at once."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._messages: list[ForwardMsg] | None = []
        self._lock = Lock()

    def add(self, message: ForwardMsg) -> None:
        with self._lock:
            if self._messages is None:
                self._send(message)
            else:
                self._messages.append(message)

    def release(self) -> None:
        """Sends what waits. Further calls do nothing."""
        with self._lock:
            messages = self._messages or ()
            self._messages = None
            if messages:
                _in_one_step(lambda: [self._send(message) for message in messages])


def _in_one_step(send: Callable[[], object]) -> None:
    """Calls `send` in the server's loop; without a server in this thread.

    The loop looks for messages whenever one is added, and then not for 10 ms. What is added in one
    step of the loop is sent together.
    """
    if not _is_running():
        send()
        return
    done = Event()

    def step() -> None:
        try:
            send()
        finally:
            done.set()

    _loops[0].call_soon_threadsafe(step)
    while not done.wait(CHECK) and _is_running():
        pass


def _is_running() -> bool:
    return bool(_loops) and _loops[0].is_running()
