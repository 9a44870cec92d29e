"""What the pages of single components share: a visit starts from nothing, though its page stays."""

import streamlit as st


def begin_visit() -> str:
    """The number of this visit, for keys of widgets. A new number forgets what the last one left.

    blank=1 shows the number alone, so that the components of the last visit are taken away.
    """
    number = str(st.query_params.get("visit", "0"))
    if st.query_params.get("blank") == "1":
        st.text(f"blank {number}")
        st.stop()
    if st.session_state.get("visit") != number:
        st.session_state.clear()
        st.session_state["visit"] = number
    st.session_state["runs"] = st.session_state.get("runs", 0) + 1
    return number
