"""Errors and warnings as one sentence on the page, never as a traceback."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import streamlit as st

from explorer.texts.translate import _, from_core
from pruning_core.types import DataMissing, PruningError
from pruning_core.zoo.folders import VARIABLE

SHOW = {"warning": (st.warning, ":material/info:"), "error": (st.error, ":material/error:")}

MARKUP = re.compile(
    r"(`[^`]*`)|((?:https?://|www\.)[^\s`'\"()<>\[\]]+)|([*$~<]|\](?=\()|(?<=[a-z0-9])\[)"
)
"""A code span, an address, or a character that Markdown reads as emphasis, a formula, a link, an
image, a colour or an icon.
"""
MOST_NOTES = 6


def plain(sentence: str) -> str:
    """Escapes Markdown, so that a path such as CLASS/*.png keeps its star. Keeps code spans.

    A sentence of the core becomes one of the page's language.

    An address of a web page becomes a code span, which no click follows. Several lines become one.

    Images are named by their path below the image folder, which is named without its own path.
    """
    root = os.environ.get(VARIABLE, "").rstrip("/")
    if root:
        sentence = sentence.replace(f"{root}/", "").replace(root, Path(root).name)
    return MARKUP.sub(_escaped, from_core(" ".join(sentence.split())))


def _escaped(match: re.Match[str]) -> str:
    if match[2]:
        return f"`{match[2]}`"
    return match[1] or "\\" + match[3]


def show_notes(notes: Sequence[tuple[str, str]]) -> None:
    """Shows the first `MOST_NOTES` of the side bar's notes, and how many more there are.

    Each note is a kind, warning or error, and a sentence.
    """
    for kind, sentence in notes[:MOST_NOTES]:
        draw, icon = SHOW[kind]
        draw(plain(sentence), icon=icon)
    if len(notes) > MOST_NOTES:
        more = f"{len(notes) - MOST_NOTES:,}"
        st.caption(_("{n} more notes are not shown.", n=more))


@contextmanager
def show_errors() -> Iterator[None]:
    """Shows the message of a PruningError that is raised inside the block."""
    try:
        yield
    except DataMissing as problem:
        st.error(plain(str(problem)), icon=":material/folder_off:")
    except PruningError as problem:
        st.error(plain(str(problem)), icon=":material/error:")
