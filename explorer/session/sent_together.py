"""Several elements that reach the browser at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.scriptrunner import get_script_run_ctx


@contextmanager
def sent_together() -> Iterator[None]:
    """A context whose elements are sent at its end.

    The browser draws the page again for whatever has come meanwhile: 15 to 20 ms each time. So
    elements that are drawn quickly one after the other are best sent together. Use it only where no
    parallel part is drawn: its thread shares the script's context, so the order of what both send
    could change.
    """
    context = get_script_run_ctx()
    if context is None:
        yield
        return
    messages: list[ForwardMsg] = []
    send = context._enqueue
    context._enqueue = messages.append
    try:
        yield
    finally:
        context._enqueue = send
        for message in messages:
            send(message)
