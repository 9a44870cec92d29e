"""A part of a page that the user opens and closes, and that stays so on a page switch."""

import streamlit as st
from streamlit.elements.lib.mutable_expander_container import ExpanderContainer

from explorer.session import state


def foldable(label: str, key: str, icon: str, *, opened: bool = False) -> ExpanderContainer:
    """The part; `open` says whether its content is seen. opened: is it open at first?"""
    state.keep_widget(key)
    if opened and state.widget_value(key, None) is None:
        state.set_widget(key, True)
    return st.expander(label, icon=icon, key=key, on_change="rerun")
