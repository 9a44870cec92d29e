"""How a page tells what went wrong: one sentence, never a traceback."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import streamlit as st

from pruning_core.types import DataMissing, PruningError

SHOW = {"warning": (st.warning, ":material/info:"), "error": (st.error, ":material/error:")}

MARKUP = re.compile(r"(`[^`]*`)|([*$~]|\](?=\())")
"""A code span, or what Markdown would take for emphasis, a formula or a link."""


def plain(sentence: str) -> str:
    """The sentence for a Markdown element, shown as it is: a path such as CLASS/*.png keeps its
    star.
    """
    return MARKUP.sub(lambda found: found[1] or "\\" + found[2], sentence)


def show_notes(notes: Sequence[tuple[str, str]]) -> None:
    """Shows the side bar's notes (kind, sentence)."""
    for kind, sentence in notes:
        draw, icon = SHOW[kind]
        draw(plain(sentence), icon=icon)


@contextmanager
def show_errors() -> Iterator[None]:
    """What cannot be done inside is told in its own sentence."""
    try:
        yield
    except DataMissing as problem:
        st.error(plain(str(problem)), icon=":material/folder_off:")
    except PruningError as problem:
        st.error(plain(str(problem)), icon=":material/error:")
