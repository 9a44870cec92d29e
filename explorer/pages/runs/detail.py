"""One run: its numbers, what it was made from, notes and tags, and what to do with it."""

from collections.abc import Sequence
from typing import Any, Literal

import streamlit as st

from explorer.charts import alt
from explorer.charts.runs import epoch_lines, removed_lines
from explorer.charts.style import state_label
from explorer.pages.runs.transfer import delete
from explorer.session import state
from explorer.session.kept import set_parent
from explorer.session.notices import plain, show_errors
from explorer.texts.formats import change_text, count, interval_words, points, value_text
from explorer.texts.plan_words import differences
from explorer.texts.run_words import (
    COSTS,
    SPLITS,
    cost_text,
    kind_words,
    machine_words,
    measured_words,
    run_title,
    started_words,
    subject_words,
)
from explorer.texts.translate import N_, _, from_core
from pruning_core.history import History, Run
from pruning_core.history.tensors import CURVES, unpack_curves
from pruning_core.types import PruningError
from pruning_core.workspaces import Workspace


def detail_panel(history: History, run: Run, runs: Sequence[Run], space: Workspace) -> None:
    """Draws the run."""
    heading = _("{kind}: {run}", kind=kind_words(run), run=plain(run_title(run)))
    st.subheader(heading, anchor=False)
    st.caption(
        _(
            "{subject} · {started} · run `{id}` · {machine}",
            subject=plain(subject_words(run)),
            started=started_words(run),
            id=run.id,
            machine=plain(machine_words(run)),
        )
    )
    if run.state != "finished":
        ended = _(run.state)
        words = _("This run is {state}.", state=ended)
        if run.sentence:
            words = _("This run is {state}: {why}", state=ended, why=plain(run.sentence))
        st.warning(words, icon=":material/error:")
    _numbers(run)
    _actions(history, run)
    _from_parent(run, runs)
    halves = st.grid(2, min_column_width=420, gap="medium")
    if run.kept:
        removed = {run_title(run): {name: 1 - share for name, share in run.kept.items()}}
        figure = removed_lines(removed)
        halves.plotly_chart(
            figure, key="run_removed", alt=alt(figure), config={"displayModeBar": False}
        )
    with show_errors():
        if (content := history.file(run, CURVES)) is not None:
            figure = epoch_lines({run_title(run): unpack_curves(content)}, run.task)
            halves.plotly_chart(
                figure, key="run_epochs", alt=alt(figure), config={"displayModeBar": False}
            )


def _numbers(run: Run) -> None:
    """The last value, and what remains."""
    cells = st.grid(4, min_column_width=200)
    final = run.final
    if final is not None:
        dense = run.values.get("dense")
        change = None if dense is None else final.value - dense.value
        words = "" if change is None else f"{change_text(change, run.task)}{points(run.task)}"
        with cells.container(border=True, height="stretch", gap="xsmall"):
            st.metric(
                _("{state} · measured", state=_started(state_label(tuple(run.values)[-1]))),
                value_text(final.value, run.task),
                words or None,
                delta_color="off",
            )
            ends = interval_words((final.low, final.high), run.task)
            st.caption(
                _(
                    "{n:,} {split} {samples}; 95%: {ends}",
                    n=final.n,
                    split=_(SPLITS[final.split]),
                    samples=from_core(run.task.samples),
                    ends=ends,
                )
            )
    for cost, label in COSTS.items():
        if cost in run.costs:
            with cells.container(border=True, height="stretch", gap="xsmall"):
                title = N_("{cost} left · computed")
                if cost == "time":
                    title = N_("{cost} left · measured")
                st.metric(_(title, cost=_(label)), cost_text(run, cost))
                st.caption(_count_words(run, cost))
    others = list(run.values.items())[:-1]
    if others:
        words = _("; ").join(
            f"{state_label(name)} {measured_words(value, run.task)}" for name, value in others
        )
        st.caption(_("Before: {values}.", values=words))


def _started(words: str) -> str:
    return words[:1].upper() + words[1:]


def _count_words(run: Run, cost: str) -> str:
    if cost in run.counts:
        dense = run.counts[cost]
        words = N_("{part} not zero of {dense}")
        if f"thinned_{cost}" in run.counts:
            words = N_("{part} not zero of {dense} in the thinned network")
        return _(words, part=count(run.costs[cost] * dense), dense=count(dense))
    if cost == "bytes" and run.stored_bytes:
        stored = run.stored_bytes
        part = count(min(stored.values()))
        dense_bytes = count(stored["dense"])
        return _("{part}B of {dense}B", part=part, dense=dense_bytes)
    return _("of the dense network")


def _actions(history: History, run: Run) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.button(
            _("Open in Explore"),
            type="primary",
            icon=":material/grid_view:",
            key="run_open",
            on_click=_open,
            args=(run,),
            help=_("Opens the run's plan. What you keep then has this run as its parent."),
        )
        st.button(
            _("Unpin") if run.pinned else _("Pin as baseline"),
            icon=":material/star:",
            key="run_pin",
            on_click=_change,
            args=(history, run, "pinned", not run.pinned),
            disabled=bool(history.read_only),
            help=_("Pinned runs are first in the tree, and the reference of comparisons."),
        )
        st.button(
            _("Delete"),
            icon=":material/delete:",
            key="run_delete",
            on_click=delete,
            args=(history, [run.id]),
            disabled=bool(history.read_only),
            help=_("You can undo it."),
        )
        _field(history, run, "tags", _("Tags, separated by commas"), ", ".join(run.tags), 200)
        _field(history, run, "note", _("Note"), run.note, "stretch")


def _field(
    history: History, run: Run, field: str, label: str, value: str, width: int | Literal["stretch"]
) -> None:
    """A text of the user's; a change is kept at once."""
    key = f"run_{field}_{run.id}"
    state.set_widget(key, value)
    st.text_input(
        label,
        key=key,
        width=width,
        on_change=_written,
        args=(history, run, field, key),
        disabled=bool(history.read_only),
    )


def _written(history: History, run: Run, field: str, key: str) -> None:
    text = state.widget_value(key, "")
    _change(history, run, field, text.split(",") if field == "tags" else text)


def _change(history: History, run: Run, field: str, value: Any) -> None:
    try:
        history.change(run.id, **{field: value})
    except PruningError as problem:
        state.add_problem(str(problem))


def _open(run: Run) -> None:
    try:
        state.set_plan(run.read_plan())
    except PruningError as problem:
        state.add_problem(str(problem))
        return
    set_parent(run)
    state.go_to("explore")


def _from_parent(run: Run, runs: Sequence[Run]) -> None:
    """What the run was made from, and what its plan changes."""
    parent = next((other for other in runs if other.id == run.parent), None)
    if parent is None:
        return
    with show_errors():
        changed = differences(parent.read_plan(), run.read_plan())
        st.caption(
            _(
                ":material/account_tree: Made from {kind} `{id}` ({run}): {changes}.",
                kind=kind_words(parent).lower(),
                id=parent.id,
                run=plain(run_title(parent)),
                changes=plain(_("; ").join(changed)) or _("the same plan"),
            )
        )
