"""Elements that are sent together: in order, at the end or when they have waited long enough."""

import asyncio
import json
import threading
from collections.abc import Iterator

import pytest
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.testing.v1 import AppTest

from explorer.session.sent_together import _loops, keep_loop, sent_together


def script() -> None:
    import streamlit as st
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    from explorer.session.sent_together import sent_together

    context = get_script_run_ctx()
    assert context is not None
    sent: list[object] = []
    send = context._enqueue

    def count(message: object) -> None:
        sent.append(message)
        send(message)  # type: ignore[arg-type]

    context._enqueue = count
    place = st.container()
    before = len(sent)
    try:
        with sent_together(patience=60):
            st.text("first")
            place.text("above")
            during = len(sent)
            raise ValueError("an error in between")
    except ValueError:
        st.text("last")
    st.json({"before": before, "during": during, "after": len(sent)})


def test_elements_are_sent_at_the_end_and_in_order() -> None:
    at = AppTest.from_function(script).run()
    assert not at.exception
    assert [each.value for each in at.text] == ["above", "first", "last"]
    counted = at.json[0].value
    assert counted == '{"before": 1, "during": 1, "after": 4}'


def test_outside_of_a_page_nothing_happens() -> None:
    assert get_script_run_ctx(suppress_warning=True) is None
    with pytest.raises(ValueError, match="inside"), sent_together():
        raise ValueError("inside")


def impatient_script() -> None:
    from threading import Event

    import streamlit as st
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    from explorer.session.sent_together import sent_together

    context = get_script_run_ctx()
    assert context is not None
    send = context._enqueue
    arrived = Event()

    def note(message: object) -> None:
        send(message)  # type: ignore[arg-type]
        arrived.set()

    context._enqueue = note
    with sent_together(patience=0):
        st.text("first")
        came = arrived.wait(60)
        st.text("later")
    context._enqueue = send
    st.text(f"sent before the end: {came}")


def test_what_is_drawn_does_not_wait_for_what_takes_long() -> None:
    at = AppTest.from_function(impatient_script).run()
    assert not at.exception
    assert [each.value for each in at.text] == ["first", "later", "sent before the end: True"]


@pytest.fixture
def server_loop() -> Iterator[None]:
    """A loop in another thread, which counts as the server's."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="loop")
    thread.start()
    kept = threading.Event()
    loop.call_soon_threadsafe(keep_loop)
    loop.call_soon_threadsafe(kept.set)
    assert kept.wait(60)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        _loops.clear()


def loop_script() -> None:
    import threading

    import streamlit as st
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    from explorer.session.sent_together import _loops, sent_together

    context = get_script_run_ctx()
    assert context is not None
    send = context._enqueue
    steps: list[None] = []
    seen: list[tuple[bool, int]] = []

    def note(message: object) -> None:
        seen.append((threading.current_thread().name == "loop", len(steps)))
        send(message)  # type: ignore[arg-type]
        _loops[0].call_soon_threadsafe(steps.append, None)

    context._enqueue = note
    with sent_together(patience=60):
        st.text("first")
        st.text("second")
    context._enqueue = send
    st.json(seen)


@pytest.mark.usefixtures("server_loop")
def test_the_servers_loop_adds_all_in_one_step() -> None:
    at = AppTest.from_function(loop_script).run()
    assert not at.exception
    assert [each.value for each in at.text] == ["first", "second"]
    assert json.loads(at.json[0].value) == [[True, 0], [True, 0]]
