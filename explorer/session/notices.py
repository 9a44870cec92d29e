"""Errors and warnings as one sentence on the page, never as a traceback."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import streamlit as st

from pruning_core.types import DataMissing, PruningError

SHOW = {"warning": (st.warning, ":material/info:"), "error": (st.error, ":material/error:")}

MARKUP = re.compile(r"(`[^`]*`)|([*$~]|\](?=\())")
"""A code span, or a character that Markdown reads as emphasis, a formula or a link."""


def plain(sentence: str) -> str:
    """Escapes Markdown, so that a path such as CLASS/*.png keeps its star. Keeps code spans."""
    return MARKUP.sub(lambda match: match[1] or "\\" + match[2], sentence)


def show_notes(notes: Sequence[tuple[str, str]]) -> None:
    """Shows the side bar's notes. Each note is a kind, warning or error, and a sentence."""
    for kind, sentence in notes:
        draw, icon = SHOW[kind]
        draw(plain(sentence), icon=icon)


@contextmanager
def show_errors() -> Iterator[None]:
    """Shows the message of a PruningError that is raised inside the block."""
    try:
        yield
    except DataMissing as problem:
        st.error(plain(str(problem)), icon=":material/folder_off:")
    except PruningError as problem:
        st.error(plain(str(problem)), icon=":material/error:")
