"""A page's own choices, which are one text of its address."""

from collections.abc import Callable
from typing import TypeVar

import streamlit as st

from explorer.session import state
from explorer.session.notices import plain
from explorer.texts.translate import _
from pruning_core.types import PruningError

Choices = TypeVar("Choices")


def choices_in_address(key: str, read: Callable[[str], Choices], default: Choices) -> Choices:
    """The choices in the text `key` of the page's address.

    read: raises PruningError for an invalid text. Then a warning says why, and the choices are
    `default`.
    """
    text = state.page_text(key)
    try:
        return read(text)
    except PruningError as problem:
        st.warning(
            _("{problem} The address's '{key}' was ignored.", problem=plain(str(problem)), key=key),
            icon=":material/info:",
        )
        return default


def shown_choices(key: str, read: Callable[[str], Choices], default: Choices) -> Choices:
    """The choices that the page shows, for the callbacks of its widgets."""
    try:
        return read(state.stored(key, ""))
    except PruningError:
        return default
