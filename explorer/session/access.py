"""The access token: where the server has one, a page shows nothing before it was entered."""

import hmac
import os
import time

import streamlit as st

from explorer.serving import TOKEN
from explorer.session import state
from explorer.texts.translate import _

PARAM = "token"
LEAST_LENGTH = 8
MAX_BROWSERS = 10_000
WRONG_SECONDS = 1.0
"""Seconds after which a wrong token is answered."""

_allowed: dict[str, str] = {}
"""The browsers that entered the token, by `state.owner`, and the token that they entered."""


def has_access() -> bool:
    """Whether the server has no token, or this browser has entered it."""
    wanted = os.environ.get(TOKEN, "")
    return not wanted or _allowed.get(state.owner()) == wanted


def require_token() -> None:
    """Stops the run with a form, until this browser has entered the server's token.

    A link may hold it (`?token=...`); it is then removed from the address. Without a token on the
    server, nothing is asked.
    """
    if has_access():
        return
    wanted = os.environ[TOKEN]
    linked = state.in_address(PARAM)
    given = linked or _asked()
    if given and hmac.compare_digest(given.encode(), wanted.encode()):
        _remember(state.owner(), wanted)
        state.remove_from_address(PARAM)
        st.rerun()
    if given:
        time.sleep(WRONG_SECONDS)
        if linked:  # the form takes the next try
            state.remove_from_address(PARAM)
            _asked()
        st.error(_("This is not the access token of this server."), icon=":material/lock:")
    st.stop()


def _asked() -> str:
    """The token in the form; empty before something was entered."""
    st.title("Pruning Explorer", anchor=False)
    st.write(_("This server asks for an access token. Whoever runs the server can give it to you."))
    with st.form("access", border=False, width=420):
        entered = st.text_input(_("Access token"), type="password", max_chars=200)
        st.form_submit_button(_("Open"), type="primary")
    return entered


def _remember(owner: str, token: str) -> None:
    while len(_allowed) >= MAX_BROWSERS:
        del _allowed[next(iter(_allowed))]
    _allowed[owner] = token
