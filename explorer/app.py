"""The app: page settings, navigation between the pages, the side bar. The script `app.py` calls `show` on every run."""

from types import ModuleType

import streamlit as st

from explorer import cache, sidebar, state
from explorer.logo import icon
from explorer.notices import announce, told
from explorer.sidebar import Choice
from explorer.views import explore, export, finetune, flows, methods, sensitivity
from explorer.views.ways_on import ways_on
from pruning_core.crew import kernel_threads, thread_count

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
            lambda: _draw(view, choice), title=title, icon=f":material/{icon}:", url_path=path, default=view is explore
        )

    st.set_page_config("Pruning Explorer", icon(), layout="wide")
    cache.keep_imports()
    with told():
        kernel_threads(thread_count())  # each run has its own thread, and pages compute in it too
    current = st.navigation([page(*entry) for entry in PAGES], position="top")
    state.begin(current.url_path, sidebar.known_names())
    with st.sidebar:
        st.header("Pruning Explorer", anchor=False)
        choice = sidebar.render()
    state.publish()
    current.run()


def _draw(view: ModuleType, choice: Choice) -> None:
    """Draws a page, or one sentence where the plan cannot be run."""
    announce(choice.notes)
    if choice.space is None:
        ways_on(choice.plan)
        return
    with told():
        view.render(choice.plan, choice.space)
