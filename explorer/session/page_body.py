"""The body of a page: a change of its own widgets draws it again without the side bar."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import wraps

import streamlit as st

from explorer.session import cache, page_language, state
from explorer.session.kernel_threads import with_kernel_threads
from explorer.session.notices import show_errors
from explorer.session.sidebar import shown_of_ratios
from explorer.session.turns import turns
from pruning_core.plan import Plan
from pruning_core.workspaces import Workspace

Draw = Callable[[Plan, Workspace], None]


@dataclass(frozen=True)
class Drawn:
    """What the side bar and the notes above the page show."""

    plan: Plan
    problems: tuple[str, ...]


def page_body(draw: Draw) -> Draw:
    """Makes a page's `render` a fragment.

    The whole app runs again where a change of the body changes the side bar or the notes too.
    """

    @st.fragment
    @with_kernel_threads
    def body(plan: Plan, space: Workspace, drawn: Drawn) -> None:
        alone = state.in_fragment_run()
        with turns.turn() if alone else nullcontext(), show_errors():
            if alone:
                if not _still_true(drawn, space):
                    st.rerun()
                page_language.keep_language()
                state.take_change()
                plan = cache.runnable_plan(state.plan(), space)[0]
            draw(plan, space)

    @wraps(draw)
    def render(plan: Plan, space: Workspace) -> None:
        body(plan, space, _drawn_now())

    return render


def _drawn_now() -> Drawn:
    return Drawn(state.plan(), state.problems())


def _still_true(drawn: Drawn, space: Workspace) -> bool:
    """Does the side bar say the same about the plan as it is now?"""
    now = _drawn_now()
    return now == drawn or (
        _without_hand(now) == _without_hand(drawn)
        and shown_of_ratios(now.plan, space) == shown_of_ratios(drawn.plan, space)
    )


def _without_hand(drawn: Drawn) -> Drawn:
    return replace(drawn, plan=replace(drawn.plan, overrides=(), edits=()))
