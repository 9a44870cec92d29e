"""The body of a page and its parts: a change of a widget draws again what it changes, no more.

The side bar is drawn by a run of the whole app. The body is a fragment, and so is each of its
parts. One part shows the ratios and the sparsity, and has the widgets that change them.
`change_and_draw`, in a widget's callback, chooses the smallest fragment that shows the change.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import streamlit as st

from explorer.session import cache, page_language, state
from explorer.session.kernel_threads import with_kernel_threads
from explorer.session.notices import show_errors
from explorer.session.shown_of_plan import shown_of_plan
from explorer.session.turns import turns
from pruning_core.plan import Plan
from pruning_core.workspaces import Workspace

Draw = Callable[[Plan, Workspace], None]
More = ParamSpec("More")
Result = TypeVar("Result")
BODY = "body"
SHOWN = "body shown"
DRAWN = "side bar drawn"
_bodies: dict[str, "Body"] = {}
"""The bodies of all pages, by the module of their page."""
_body_runs: ContextVar[bool] = ContextVar("body runs", default=False)


@dataclass(frozen=True)
class Drawn:
    """What the side bar and the notes above the page show."""

    plan: Plan
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Body:
    """What shows the ratios and the sparsity on a page.

    part: the key of the part that shows them; more: does anything else show them at the moment?
    """

    part: str
    more: Callable[[], bool]


def page_body(shows_ratios: Body) -> Callable[[Draw], Draw]:
    """Makes a page's `render` a fragment.

    The whole app runs again where a change of the body changes the side bar or the notes too.
    """

    def decorate(draw: Draw) -> Draw:
        _bodies[draw.__module__] = shows_ratios

        @st.fragment(key=BODY)
        @with_kernel_threads
        def body(plan: Plan, space: Workspace) -> None:
            forget_body()
            running = _body_runs.set(True)
            try:
                alone = state.in_fragment_run()
                with _turn(alone), show_errors():
                    if alone:
                        if not _still_true(space):
                            st.rerun()
                        plan = _plan_now(space)
                        state.take_change()
                    draw(plan, space)
                    state.store(SHOWN, draw.__module__)
            finally:
                _body_runs.reset(running)

        @wraps(draw)
        def render(plan: Plan, space: Workspace) -> None:
            state.store(DRAWN, _drawn_now())
            body(plan, space)

        return render

    return decorate


def part(
    key: str, *, parallel: bool = False
) -> Callable[
    [Callable[Concatenate[Plan, Workspace, More], Result]],
    Callable[Concatenate[Plan, Workspace, More], Result | None],
]:
    """Makes a part of a body a fragment. Drawn alone, it gets the plan of that moment.

    parallel: beside the rest, where the whole app runs. None after an error, which is shown.
    """

    def decorate(
        draw: Callable[Concatenate[Plan, Workspace, More], Result],
    ) -> Callable[Concatenate[Plan, Workspace, More], Result | None]:
        @st.fragment(key=key, parallel=parallel)
        @with_kernel_threads
        @wraps(draw)
        def drawn(
            plan: Plan, space: Workspace, /, *more: More.args, **named: More.kwargs
        ) -> Result | None:
            alone = is_alone()
            with _turn(alone), show_errors():  # after an error, which it shows: no result
                if not alone:
                    return draw(plan, space, *more, **named)
                result = draw(_plan_now(space), space, *more, **named)
                state.take_change()  # last: the browser takes long over a new address
                return result

        return drawn

    return decorate


def is_alone() -> bool:
    """Is a part drawn without the body?"""
    return state.in_fragment_run() and not _body_runs.get()


def change_and_draw(
    space: Workspace | None, change: Callable[..., None], *args: object, slider: bool = False
) -> None:
    """Carries out a change, and draws what shows it. Call it as a widget's callback.

    slider: the widget is the side bar's slider, which shows the change itself. Every other widget
    is in the body's part that shows the ratios, so that part is drawn by the run of the callback.
    The whole app runs again where the side bar shows the change elsewhere.
    """
    layer = state.selected_layer()
    body = shown_body()
    change(*args)
    if body is None or space is None:
        return  # no body is drawn
    if not _still_true(space, slider=slider):
        st.rerun()
    if state.selected_layer() != layer or body.more():
        st.rerun(BODY)
    if slider:
        st.rerun(body.part)


def draw_body(change: Callable[..., None] | None = None, *args: object) -> None:
    """As `change_and_draw`, for a change that the whole body shows and the side bar does not."""
    if change is not None:
        change(*args)
    if shown_body() is not None:
        st.rerun(BODY)


def shown_body() -> Body | None:
    """The body that this session's page shows; None before it is drawn, and on other pages."""
    return _bodies.get(state.stored(SHOWN, ""))


def forget_body() -> None:
    """Call it in every run of the whole app, before the body is drawn."""
    state.store(SHOWN, "")


def _turn(alone: bool) -> AbstractContextManager[None]:
    """A turn for what is drawn alone; a run of the whole app has one."""
    return turns.turn() if alone else nullcontext()


def _plan_now(space: Workspace) -> Plan:
    """The plan in a run of a fragment alone, whose arguments are those of an earlier run."""
    page_language.keep_language()
    return cache.runnable_plan(state.plan(), space)[0]


def _drawn_now() -> Drawn:
    return Drawn(state.plan(), state.problems())


def _still_true(space: Workspace, *, slider: bool = False) -> bool:
    """True where the side bar, as it was drawn, is also right for the plan as it is now.

    Then the plan of now counts as the drawn one. slider: the side bar's slider shows the plan's
    sparsity already.
    """
    now = _drawn_now()
    drawn: Drawn = state.stored(DRAWN, now)
    true = now == drawn or (
        _without_ratios(now) == _without_ratios(drawn)
        and shown_of_plan(now.plan, space, slider=slider)
        == shown_of_plan(drawn.plan, space, slider=slider)
    )
    if true:
        state.store(DRAWN, now)
    return true


def _without_ratios(drawn: Drawn) -> Drawn:
    return replace(drawn, plan=replace(drawn.plan, sparsity=0.0, overrides=(), edits=()))
