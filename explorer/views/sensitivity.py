"""This page is being built."""

import streamlit as st

from pruning_core.pipeline import Workspace
from pruning_core.plan import Plan


def render(plan: Plan, space: Workspace) -> None:
    """Draws the page."""
    st.title("sensitivity")
