"""The language of the page, which its address carries."""

from contextvars import ContextVar

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from explorer.session import state
from explorer.texts import translate

LANGUAGE = "lang"
"""The parameter of the address with the page's language."""
_of_this_run: ContextVar[str] = ContextVar("language", default="")
"""A page asks for its language hundreds of times in a run."""


def read_language() -> None:
    """Reads the page's language from the address. Call it in every run.

    Without one there, it is the language that this session chose, or else the browser's.
    """
    state.page_text(LANGUAGE)
    keep_language()


def keep_language() -> None:
    """Keeps the session's language for this run. `read_language` does so too."""
    _of_this_run.set(_of_session())


def set_language(code: str) -> None:
    """Sets the page's language, a key of `translate.LANGUAGES`. Call it from widget callbacks."""
    state.set_page_text(LANGUAGE, code)
    _of_this_run.set(code)


def language() -> str:
    """The code of the language of this session's page. Outside a session, the source language."""
    return _of_this_run.get() or _of_session()


def _of_session() -> str:
    if get_script_run_ctx(suppress_warning=True) is None:
        return translate.SOURCE
    chosen = state.stored(LANGUAGE, "")
    return chosen if chosen in translate.LANGUAGES else translate.language_of(st.context.locale)


translate.follow(language)
