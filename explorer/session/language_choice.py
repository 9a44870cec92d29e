"""The control that chooses the page's language."""

import streamlit as st

from explorer.session import state
from explorer.texts.translate import LANGUAGES, _

KEY = "language"


def language_choice() -> None:
    """One button for each language. The address carries the choice."""
    state.set_widget(KEY, state.language())
    st.segmented_control(
        _("Language"),
        LANGUAGES,
        format_func=LANGUAGES.__getitem__,
        key=KEY,
        required=True,
        on_change=_set_language,
    )


def _set_language() -> None:
    state.set_language(state.widget_value(KEY, state.language()))
