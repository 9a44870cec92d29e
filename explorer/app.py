"""The app: page settings, navigation between the pages, the side bar. The script `app.py` calls
`show` on every run.
"""

from types import ModuleType

import streamlit as st

from explorer.charts.logo import icon
from explorer.pages.explore import page as explore
from explorer.pages.export import page as export
from explorer.pages.finetune import page as finetune
from explorer.pages.flows import page as flows
from explorer.pages.methods import page as methods
from explorer.pages.sensitivity import page as sensitivity
from explorer.session import cache, sidebar, state
from explorer.session.notices import show_errors, show_notes
from explorer.session.sidebar import Choice
from explorer.session.unavailable import show_unavailable
from pruning_core.evaluation.thread_pool import kernel_threads, thread_count

PAGES = (
    (explore, "Explore", "grid_view", "explore"),
    (sensitivity, "Sensitivity", "monitoring", "sensitivity"),
    (finetune, "Fine-tune & compare", "model_training", "finetune"),
    (flows, "Flows", "timeline", "flows"),
    (methods, "Methods", "leaderboard", "methods"),
    (export, "Export", "download", "export"),
)


def show() -> None:
    """Draws the side bar, and the chosen page for the plan of the side bar."""

    def page(view: ModuleType, title: str, icon: str, path: str) -> st.Page:
        return st.Page(
            lambda: _draw(view, choice),
            title=title,
            icon=f":material/{icon}:",
            url_path=path,
            default=view is explore,
        )

    st.set_page_config("Pruning Explorer", icon(), layout="wide")
    cache.keep_imports()
    with show_errors():
        kernel_threads(thread_count())  # each run has its own thread, and pages compute in it too
    current = st.navigation([page(*entry) for entry in PAGES], position="top")
    state.read_address(current.url_path, sidebar.known_names())
    with st.sidebar:
        st.header("Pruning Explorer", anchor=False)
        choice = sidebar.render()
    state.write_address()
    current.run()


def _draw(view: ModuleType, choice: Choice) -> None:
    """Draws a page, or one sentence where the plan cannot be run."""
    show_notes(choice.notes)
    if choice.space is None:
        show_unavailable(choice.plan)
        return
    with show_errors():
        view.render(choice.plan, choice.space)
