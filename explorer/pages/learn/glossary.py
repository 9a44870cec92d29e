"""The glossary: each term with its meaning, its formula and its source."""

from collections.abc import Iterable

import streamlit as st

from explorer.texts.lessons import text
from explorer.texts.lessons.terms import TERMS


def show_terms(language: str, names: Iterable[str] = TERMS) -> None:
    """Draws the terms of those names; without names, all."""
    for name in names:
        formula, source = TERMS[name]
        label = text(f"terms.{name}.label", language)
        meaning = text(f"terms.{name}.meaning", language)
        st.markdown(f"**{label}** — {meaning}\n\n$${formula}$$\n\n:gray[{source}]")
