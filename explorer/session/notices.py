"""Errors and warnings as one sentence on the page, never as a traceback."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import streamlit as st

from pruning_core.types import DataMissing, PruningError
from pruning_core.zoo.folders import VARIABLE

SHOW = {"warning": (st.warning, ":material/info:"), "error": (st.error, ":material/error:")}

MARKUP = re.compile(r"(`[^`]*`)|([*$~]|\](?=\())")
"""A code span, or a character that Markdown reads as emphasis, a formula or a link."""


def plain(sentence: str) -> str:
    """Escapes Markdown, so that a path such as CLASS/*.png keeps its star. Keeps code spans.

    Images are named by their path below the image folder, which is named without its own path.
    """
    root = os.environ.get(VARIABLE, "").rstrip("/")
    if root:
        sentence = sentence.replace(f"{root}/", "").replace(root, Path(root).name)
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
