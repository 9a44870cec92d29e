"""The app: page settings, navigation, side bar. `script/visit.py` calls `show` in every run."""

import json
from typing import Protocol

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from explorer import metrics
from explorer.charts.logo import icon
from explorer.first_paint import STYLE
from explorer.pages import FIRST, LEARN, PAGES
from explorer.pages.explore import page as explore
from explorer.pages.export import page as export
from explorer.pages.finetune import page as finetune
from explorer.pages.flows import page as flows
from explorer.pages.learn import page as learn
from explorer.pages.methods import page as methods
from explorer.pages.runs import page as runs
from explorer.pages.search import page as search
from explorer.pages.sensitivity import page as sensitivity
from explorer.session import page_language, sidebar, state
from explorer.session.access import has_access, require_token
from explorer.session.admission import show_full, why_full
from explorer.session.demo import demo_note
from explorer.session.language_and_link import language_and_link, name_language
from explorer.session.notices import show_errors, show_notes
from explorer.session.sidebar import Choice
from explorer.session.turns import turns
from explorer.session.unavailable import show_unavailable
from explorer.texts.translate import _
from explorer.training.elsewhere import runs_elsewhere
from pruning_core.evaluation.thread_pool import set_kernel_threads, thread_count
from pruning_core.plan import Plan
from pruning_core.workspaces import Workspace


class PageModule(Protocol):
    """The module of a page with a plan."""

    def render(self, plan: Plan, space: Workspace) -> None:
        """Draws the page."""


MODULES: dict[str, PageModule] = {
    "explore": explore,
    "sensitivity": sensitivity,
    "search": search,
    "finetune": finetune,
    "flows": flows,
    "methods": methods,
    "runs": runs,
    "export": export,
}
"""The module of each page in `PAGES` by its path."""


def show() -> None:
    """Draws the side bar, and the selected page with the side bar's plan."""
    with turns.turn():
        _show()


def _show() -> None:
    st.set_page_config("Pruning Explorer", icon(), layout="wide")
    st.html(STYLE)
    metrics.add("script_runs_total")
    page_language.read_language()
    with show_errors():
        set_kernel_threads(thread_count())  # each run has a new thread, and pages compute in it

    def page(title: str, symbol: str, path: str) -> st.Page:
        return st.Page(
            lambda: _draw(path, choice),
            title=_(title),
            icon=f":material/{symbol}:",
            url_path=None if path == FIRST else path,  # the first page has the address /
            default=path == FIRST,
        )

    pages = {entry[-1]: page(*entry) for entry in PAGES}
    pages[LEARN] = st.Page(
        lambda: _learn(pages), title=_("Learn"), icon=":material/school:", url_path=LEARN
    )
    typed = st.Page(_nothing, title=_("Explore"), url_path=FIRST, visibility="hidden")
    shown = [*pages.values(), typed]
    current = _selected(shown)
    if (destination := state.take_destination()) is not None:
        st.switch_page(pages[destination])
    if current.url_path == FIRST:
        st.switch_page(pages[FIRST], query_params=state.parameters())
    state.read_address(current.url_path, sidebar.known_names())
    if current.url_path == LEARN:  # its lessons have their own plans, and no side bar
        with show_errors():
            current.run()
        name_language()
        return
    choice = _side_bar(current.url_path or FIRST)
    current.run()


def _selected(shown: list[st.Page]) -> st.Page:
    """The selected page. The run ends here for a browser that may not see it now."""
    allowed = has_access()
    full = why_full() if allowed else ""
    current = st.navigation(shown, position="top" if allowed and not full else "hidden")
    require_token()  # after the navigation: a link to another page leads there afterwards
    if full:
        show_full(full)
    title = json.dumps(f"{current.title} · ", ensure_ascii=False)
    st.html(f"<style>:root {{ --page-title: {title} }}</style>")
    return current


def _side_bar(page: str) -> Choice:
    """The plan and the page's language, below what runs on other pages."""
    with st.sidebar:
        st.header("Pruning Explorer", anchor=False)
        demo_note()
        runs_elsewhere(page, _titles())
        choice = sidebar.render(page)
        state.write_address()  # the link has the plan that the side bar set
        language_and_link()
    return choice


def _titles() -> dict[str, str]:
    """Path -> title of the pages with a plan."""
    return {path: _(title) for title, _icon, path in PAGES}


def _nothing() -> None:
    """The page /explore, which is never drawn."""


def _place(path: str) -> DeltaGenerator:
    """Where a page is drawn. Without a key, the browser would draw a part of one page in the place
    of a part of another: an expander would be open for a moment because the other one was.
    """
    return st.container(key=f"page_{path}")


def _learn(pages: dict[str, st.Page]) -> None:
    """Draws the page that needs no plan, below what runs on other pages."""
    with _place(LEARN):
        runs_elsewhere(LEARN, _titles())
        learn.render(pages)


def _draw(path: str, choice: Choice) -> None:
    """Draws a page, or what can be opened instead where the plan's network cannot be opened."""
    with _place(path):
        show_notes(choice.notes)
        if choice.space is None:
            show_unavailable(choice.plan)
            return
        with show_errors():
            MODULES[path].render(choice.plan, choice.space)
