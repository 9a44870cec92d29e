"""How far can the plan go? The largest sparsity within a loss, the smallest within a target."""

from typing import Any

import streamlit as st

from explorer.charts import alt
from explorer.charts.farthest import farthest_chart
from explorer.jobs.progress import Progress
from explorer.pages.explore.folded import folded
from explorer.pages.explore.how_far_run import TITLE, curve_points, result, runs, share_done, start
from explorer.pages.explore.smallest import LOSS, choose_limit, smallest, use_button
from explorer.session import cache, state
from explorer.session.notices import show_errors
from explorer.texts.formats import scale, signed, title
from explorer.texts.help import HELP
from explorer.texts.task_words import loss_limit_label
from explorer.texts.translate import N_, _, from_core
from explorer.training.status import active_job, ended, repeated
from pruning_core.plan import Plan
from pruning_core.sensitivity.farthest import Farthest
from pruning_core.workspaces import Workspace

LEAD = N_(
    "Measures the whole plan from 0% to 95%, without training, as pruned and repaired, on "
    "{n:,} probe {samples}, in the background. Then it searches for the largest sparsity within "
    "the limit."
)


def how_far_panel(plan: Plan, space: Workspace) -> None:
    """Draws the panel, folded."""
    if place := folded(_(TITLE), "how_far", ":material/straighten:"):
        with place, show_errors():
            _panel(plan, space)


def _panel(plan: Plan, space: Workspace) -> None:
    limited = choose_limit()
    if limited != LOSS:
        return smallest(plan, space, limited)
    lose, sure = _form(plan, space)
    active = any(run.active for run in runs(plan))
    repeated(_live, active)(plan, space, lose, sure, was_active=active)
    return None


def _form(plan: Plan, space: Workspace) -> tuple[float, bool]:
    """The limit, and the button that starts the run."""
    task = space.dataset.task
    with st.container(horizontal=True, vertical_alignment="bottom"):
        state.keep_widget("farthest_lose")
        amount = st.number_input(
            loss_limit_label(task),
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
            _("Whole 95% interval within the limit"),
            key="farthest_sure",
            help=HELP["farthest_sure"],
        )
        lose = float(amount) / scale(task)
        st.button(
            _("Find the largest sparsity"),
            key="farthest_start",
            icon=":material/search:",
            disabled=any(run.active for run in runs(plan)) or bool(result(plan, lose, sure)),
            on_click=_start,
            args=(plan, space),
        )
    return lose, sure


def _start(plan: Plan, space: Workspace) -> None:
    lose = state.widget_value("farthest_lose", 1.0) / scale(space.dataset.task)
    sure = state.widget_value("farthest_sure", False)
    start(plan, space, lose, sure)


def _live(plan: Plan, space: Workspace, lose: float, sure: bool, *, was_active: bool) -> None:
    """Progress, the sentence and the figure; runs again by itself during a run."""
    with show_errors():
        own = runs(plan)
        active = bool(own) and own[0].active
        if was_active and (not active or state.plan().sparsity != plan.sparsity):
            st.rerun()
        if own and own[0].active:
            share = share_done(own[0], len({point.repair for point in curve_points(plan)}) or 1)
            at = Progress(share, None, _("pruned networks are measured"))
            active_job(own[0], at, "farthest_stop", _("Stops within one measurement."))
        elif own:
            ended(own[0], N_("search"), N_("; measured points are kept."))
        farthest = result(plan, lose, sure)
        if farthest is not None:
            _sentence(farthest)
        _figure(plan, space, farthest, lose)
        if farthest is not None:
            use_button(farthest.plan.sparsity, plan, "farthest_use")


def _sentence(farthest: Farthest) -> None:
    """What was found."""
    task = farthest.dense.task
    samples = from_core(task.samples)
    if farthest.best is None:
        st.markdown(
            _(
                "Already 1% loses more than the limit, measured on {n:,} probe {samples}.",
                n=farthest.dense.n,
                samples=samples,
            )
        )
        return
    st.markdown(
        _(
            "**{sparsity:.0%}** of the prunable weights can be removed: {value} changes by "
            "{change}, measured on {n:,} probe {samples}.",
            sparsity=farthest.plan.sparsity,
            value=from_core(task.value_label),
            change=signed(farthest.best.change.value, farthest.best.change.interval, task),
            n=farthest.dense.n,
            samples=samples,
        )
    )


def _figure(plan: Plan, space: Workspace, farthest: Farthest | None, lose: float) -> None:
    """The curve of the whole plan, with the plan's own point. A click sets the sparsity."""
    points = curve_points(plan)
    if not points:
        samples = from_core(space.dataset.task.samples)
        st.caption(_(LEAD, n=len(cache.probe(plan, space)), samples=samples))
        return
    dense = cache.dense_accuracy(plan, space)
    limit = dense.value - dense.task.sign * lose
    own = (plan.sparsity, cache.accuracy(plan, space).value)
    figure = farthest_chart(points, farthest, dense.value, limit, own)
    st.plotly_chart(
        figure,
        key="farthest_chart",
        alt=alt(figure),
        config={"displayModeBar": False},
        on_select=set_from_chart,
        selection_mode="points",
    )
    st.caption(
        _(
            "{value} on {n:,} probe {samples}, with 95% intervals. Click a point: the plan then "
            "removes as much.",
            value=title(dense.task),
            n=dense.n,
            samples=from_core(dense.task.samples),
        )
    )


def set_from_chart() -> None:
    """Sets the sparsity of the point that was clicked."""
    nothing: dict[str, Any] = {"selection": {"points": []}}
    chosen = state.widget_value("farthest_chart", nothing)
    points = chosen["selection"]["points"]
    if points:
        state.change(sparsity=round(points[0]["x"]) / 100)
