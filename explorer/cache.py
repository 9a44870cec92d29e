"""The only `st.cache_*`: what the whole process shares."""

import atexit

import streamlit as st
from streamlit.runtime import exists, get_instance

from explorer.jobs import Jobs


def session_is_there(session_id: str) -> bool:
    """Is this browser tab connected? Without a server (in tests) every session is."""
    return not exists() or get_instance().is_active_session(session_id)


@st.cache_resource(max_entries=1, show_spinner=False)
def jobs() -> Jobs:
    """The background jobs of this process, shared by all sessions; each session sees only its own."""
    every = Jobs(session_is_there)
    atexit.register(every.close, 1.0)
    return every
