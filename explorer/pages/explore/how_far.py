"""How far can the plan go? Finds the largest sparsity that loses at most a chosen amount."""

from dataclasses import replace

import streamlit as st

from explorer.charts import alt
from explorer.charts.farthest import farthest_chart
from explorer.session import cache, state
from explorer.session.notices import show_errors
from explorer.texts.formats import scale, signed
from explorer.texts.help import HELP
from pruning_core.plan import Plan
from pruning_core.sensitivity.farthest import Farthest, Tried, farthest
from pruning_core.tasks import Task
from pruning_core.types import PruningError
from pruning_core.workspaces import Workspace

MOST_MEASURED = 20
"""About so many sparsities are measured; the bar is full then."""


def how_far_panel(plan: Plan, space: Workspace) -> None:
    """Draws the panel, folded."""
    with st.expander("How far can this plan go?", icon=":material/straighten:"), show_errors():
        _panel(plan, space)


def _panel(plan: Plan, space: Workspace) -> None:
    task = space.dataset.task
    with st.container(horizontal=True, vertical_alignment="bottom"):
        state.keep_widget("farthest_lose")
        amount = st.number_input(
            _label(task),
            0.0,
            value=1.0,
            step=0.5,
            format="%g",
            key="farthest_lose",
            width=230,
            help=HELP["farthest_lose"],
        )
        state.keep_widget("farthest_sure")
        sure = st.toggle(
            "Whole 95% interval within the limit", key="farthest_sure", help=HELP["farthest_sure"]
        )
        pressed = st.button(
            "Find the largest sparsity", key="farthest_start", icon=":material/search:"
        )
    lose = float(amount) / scale(task)
    asked = (cache.repair_key(replace(plan, sparsity=0.0)), plan.probe, lose, sure)
    if pressed:
        state.store("farthest", (asked, _search(plan, space, lose, sure)))
    nothing: tuple[object, object] = (None, None)
    known, found = state.stored("farthest", nothing)
    if known == asked and isinstance(found, Farthest):
        _result(found, plan, lose)
    else:
        st.caption(
            "Measures the pruned network at about ten sparsities, without training, on the "
            f"{len(cache.probe(plan, space)):,} validation {task.samples} of this page."
        )


def _label(task: Task) -> str:
    unit = "points of " if task.percent else ""
    return f"Lose at most, {unit}{task.value_label}"


def _search(plan: Plan, space: Workspace, lose: float, sure: bool) -> Farthest:
    """Runs the search, with a bar."""
    with st.spinner("Measuring …"):
        bar = st.progress(0.0)
        for count, event in enumerate(farthest(plan, space, lose, sure=sure), 1):
            if isinstance(event, Tried):
                bar.progress(min(1.0, count / MOST_MEASURED), f"{event.sparsity:.0%} measured")
            else:
                bar.empty()
                return event
    raise PruningError("The search ended without a result.")


def _result(found: Farthest, plan: Plan, lose: float) -> None:
    task = found.dense.task
    words = f"{found.dense.n:,} {task.samples}"
    if found.best is None:
        st.markdown(f"Already 1% loses more than the limit, measured on {words}.")
    else:
        change = signed(found.best.change.value, found.best.change.interval, task)
        st.markdown(
            f"**{found.plan.sparsity:.0%}** can be removed: {task.value_label} changes by "
            f"{change}, measured on {words}."
        )
    limit = found.dense.value - task.sign * lose
    border = None if found.best is None else found.plan.sparsity
    figure = farthest_chart(found.tried, found.dense.value, limit, border)
    st.plotly_chart(figure, key="farthest_chart", alt=alt(figure), config={"displayModeBar": False})
    same = found.plan.sparsity == plan.sparsity
    st.button(
        f"The plan removes {plan.sparsity:.0%}" if same else f"Remove {found.plan.sparsity:.0%}",
        key="farthest_use",
        icon=":material/check:",
        disabled=same,
        on_click=_use,
        args=(found.plan.sparsity,),
    )


def _use(sparsity: float) -> None:
    state.change(sparsity=sparsity)
