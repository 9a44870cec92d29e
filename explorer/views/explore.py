"""The Explore page."""

import streamlit as st

from explorer import cache
from pruning_core.pipeline import Workspace
from pruning_core.plan import Plan


def render(plan: Plan, space: Workspace) -> None:
    """Draws the page."""
    found = cache.accuracy(plan, space)
    st.metric("Accuracy", f"{found.top1:.2%}")
    st.write(cache.report(plan, space))
