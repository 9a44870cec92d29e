"""Pruning Explorer: side bar -> plan, one page per question. Start it with `make run`."""

from types import ModuleType

import streamlit as st

from explorer import cache, sidebar, state
from explorer.logo import icon
from explorer.notices import announce, told
from explorer.views import explore, export, finetune, flows, methods, sensitivity
from explorer.views.ways_on import ways_on

PAGES = (
    (explore, "Explore", "grid_view", "explore"),
    (sensitivity, "Sensitivity", "monitoring", "sensitivity"),
    (finetune, "Fine-tune & compare", "model_training", "finetune"),
    (flows, "Flows", "timeline", "flows"),
    (methods, "Methods", "leaderboard", "methods"),
    (export, "Export", "download", "export"),
)


def page(view: ModuleType, title: str, icon: str, path: str) -> st.Page:
    """A page that shows its view for the plan of the side bar, and a sentence where that cannot be done."""

    def run() -> None:
        announce(choice.notes)
        if choice.space is None:
            ways_on(choice.plan)
            return
        with told():
            view.render(choice.plan, choice.space)

    return st.Page(run, title=title, icon=f":material/{icon}:", url_path=path, default=view is explore)


st.set_page_config("Pruning Explorer", icon(), layout="wide")
cache.keep_imports()
current = st.navigation([page(*entry) for entry in PAGES], position="top")
state.begin(current.url_path, sidebar.known_names())
with st.sidebar:
    st.header("Pruning Explorer", anchor=False)
    choice = sidebar.render()
state.publish()
current.run()
