"""A full server: a new page gets one sentence instead of the app; open pages keep working."""

import streamlit as st

from explorer.limits import limits
from explorer.memory import is_full
from explorer.session import cache, state
from explorer.texts.translate import N_, _

MANY = N_("This server has as many open pages as it may have. Try again in a few minutes.")
MEMORY = N_("The memory of this server is used up. Try again in a few minutes.")


def why_full() -> str:
    """Why this page cannot open now, in English; "" where it can, or is open already."""
    owners = cache.owners()
    session = state.session()
    most = limits()
    if owners.is_known(session):
        return ""
    if is_full(most.memory_mb):
        return MEMORY
    return "" if owners.add_if_free(state.owner(), session, most.sessions) else MANY


def show_full(why: str) -> None:
    """Shows why, and stops the run."""
    st.title("Pruning Explorer", anchor=False)
    st.info(_(why), icon=":material/hourglass_top:")
    st.button(_("Try again"), key="full_again", icon=":material/refresh:")
    st.stop()
