"""How a page tells what went wrong: one sentence, never a traceback."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import streamlit as st

from pruning_core.types import DataMissing, PruningError

SHOW = {"warning": (st.warning, ":material/info:"), "error": (st.error, ":material/error:")}


def announce(notes: Sequence[tuple[str, str]]) -> None:
    """Shows the side bar's notes (kind, sentence)."""
    for kind, sentence in notes:
        draw, icon = SHOW[kind]
        draw(sentence, icon=icon)


@contextmanager
def told() -> Iterator[None]:
    """What cannot be done inside is told in its own sentence."""
    try:
        yield
    except DataMissing as problem:
        st.error(str(problem), icon=":material/folder_off:")
    except PruningError as problem:
        st.error(str(problem), icon=":material/error:")
