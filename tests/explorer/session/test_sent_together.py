"""Elements that are sent together: none before the end, all in order, also after an error."""

import pytest
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.testing.v1 import AppTest

from explorer.session.sent_together import sent_together


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
        with sent_together():
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
