"""The page Runs: all that was tried and kept, compared, opened again and shared."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from explorer.charts import alt
from explorer.charts.runs import cost_chart
from explorer.pages.runs.compare import compare_panel
from explorer.pages.runs.detail import detail_panel
from explorer.pages.runs.table import (
    CLICKED,
    MOST_SELECTED,
    SELECTED,
    filters,
    in_order,
    matching,
    order_and_columns,
    runs_table,
    select,
)
from explorer.pages.runs.transfer import transfer_panel, undo_note
from explorer.session import cache, state
from explorer.session.kept import visible
from explorer.session.notices import plain
from explorer.texts.run_words import COSTS, subject_words
from explorer.texts.translate import N_, _
from pruning_core.history import Run
from pruning_core.plan import Plan
from pruning_core.workspaces import Workspace

LEAD = N_(
    "Everything that was kept, also after a restart: what was tried, what it gave, and what it "
    "costs."
)
EMPTY = N_("""
**No run is kept yet.** *Keep this run* on Explore keeps the present plan. Fine-tunes, flows, scans,
studies, searches, and the commands `pruning run`, `scan`, `study` and `search` keep theirs by
themselves. Then you compare runs here, open them again, and share them by a link.
""")
CHART = "runs_chart"
OPENED = "runs opened"
"""Stored: the fingerprints of the runs that a link opened."""


def render(plan: Plan, space: Workspace) -> None:
    """Draws the page."""
    st.markdown(_(LEAD))
    history = cache.history()
    if history is None:
        st.info(_("This server keeps no run history."), icon=":material/history:")
        return
    runs = visible(history.runs())
    for sentence in history.reading_notes:
        st.warning(plain(sentence), icon=":material/history:")
    if history.read_only:
        st.info(plain(history.read_only), icon=":material/lock:")
    undo_note(history)
    chosen = _chosen(runs)
    if not runs:
        st.info(_(EMPTY), icon=":material/bookmark_add:")
        transfer_panel(history, [], [])
        return
    opened = bool(chosen) and not state.stored(CLICKED, False)
    first = st.container() if opened else None  # a shared link shows its run first
    shown = matching(runs, filters(runs))
    if shown:
        _chart(shown, chosen, opened)
        shown = _table(shown, chosen, len(runs))
    else:
        st.info(_("No run passes the filters."), icon=":material/filter_alt_off:")
    with first or st.container():
        if len(chosen) == 1:
            detail_panel(history, chosen[0], runs, space)
        elif chosen:
            compare_panel(history, chosen)
    transfer_panel(history, shown, chosen)


def _table(shown: Sequence[Run], chosen: Sequence[Run], total: int) -> list[Run]:
    """Draws the table of the shown runs, and returns them in its order."""
    order, differences = order_and_columns()
    rows = in_order(shown, order)
    runs_table(rows, [run.id for run in chosen], differences)
    st.caption(
        _(
            "{shown:,} of {total:,} runs. Select one to see it, two to five to compare.",
            shown=len(shown),
            total=total,
        )
    )
    return [run for _depth, run in rows if run.id]


def _chosen(runs: Sequence[Run]) -> list[Run]:
    """The selected runs, in the order of the selection, at most `MOST_SELECTED`.

    Unknown ids, and more of them than that, are reported.
    """
    known = {run.id: run for run in runs}
    named = list(dict.fromkeys(name for name in state.page_text(SELECTED).split(",") if name))
    names = named[:MOST_SELECTED]
    chosen = [known[name] for name in names if name in known]
    if len(names) < len(named):
        st.warning(
            _(
                "This link names more than {most} runs: the first {most} are shown.",
                most=MOST_SELECTED,
            ),
            icon=":material/link_off:",
        )
    if len(chosen) < len(names) and not state.stored(CLICKED, False):
        st.warning(
            _(
                "A run of this link is not in the history: it was deleted, or is on another "
                "installation."
            ),
            icon=":material/link_off:",
        )
    return chosen


def _chart(shown: Sequence[Run], chosen: Sequence[Run], opened: bool) -> None:
    """Value against cost, of the runs of one network and its data.

    That is the one of the newest run, or of a run that a link opened; a click does not change it.
    """
    measured = [run for run in shown if run.final is not None and run.costs]
    if not measured:
        return
    known = {run.fingerprint for run in measured}
    if opened:
        state.store(OPENED, [run.fingerprint for run in chosen])
    linked: list[str] = state.stored(OPENED, [])
    base = next((base for base in linked if base in known), measured[0].fingerprint)
    own = [run for run in measured if run.fingerprint == base]
    if len(known) > 1:
        st.caption(
            _(
                "The chart has the runs of {subject}: values of different networks or data cannot "
                "be compared. *Network and data* chooses another one.",
                subject=plain(subject_words(own[0])),
            )
        )
    figure = cost_chart(own, _cost(own), own[0].task, [run.id for run in chosen])
    st.plotly_chart(
        figure,
        key=CHART,
        on_select=lambda: _clicked([run.id for run in chosen]),
        selection_mode="points",
        alt=alt(figure),
        config={"displayModeBar": False},
    )
    st.caption(
        _(
            "A click selects a run. Filled marks: test split; open marks: probe, "
            "without training. Whiskers: 95% intervals."
        )
    )


def _cost(own: Sequence[Run]) -> str:
    """Draws the choice of the cost on the horizontal axis."""
    costs = [name for name in COSTS if any(name in run.costs for run in own)]
    state.keep_widget("runs_cost")
    if state.widget_value("runs_cost", costs[0]) not in costs:
        state.set_widget("runs_cost", costs[0])
    cost = st.segmented_control(
        _("Against"),
        costs,
        format_func=lambda name: _(COSTS[name]),
        default=costs[0],
        required=True,
        key="runs_cost",
        help=_(
            "What remains of the dense network's cost. Time is measured, the others are computed."
        ),
    )
    return str(cost)


def _clicked(chosen: Sequence[str]) -> None:
    """Adds the run of the point that was clicked to the selection, or takes it out."""
    nothing: dict[str, Any] = {"selection": {"points": []}}
    for point in state.widget_value(CHART, nothing)["selection"]["points"]:
        if point.get("customdata"):
            name = str(point["customdata"][0])
            others = [run for run in chosen if run != name]
            select(others if name in chosen else [*others, name])
