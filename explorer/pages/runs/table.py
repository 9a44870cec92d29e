"""The table of runs: filters, order, columns, and which rows are selected."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from explorer.session import state
from explorer.texts.formats import value_text
from explorer.texts.run_words import (
    SPLITS,
    field_label,
    field_words,
    kind_words,
    run_title,
    started_words,
    subject_words,
)
from explorer.texts.translate import N_, _
from pruning_core.history import KINDS, Run, tree_order
from pruning_core.history.run import FINISHED
from pruning_core.history.tables import differing_fields, flat_plan

KEY = "runs_table"
SELECTED = "run"
"""The key in the address: the ids of the selected runs."""
CLICKED = "runs clicked"
"""Stored: was the selection made on this page, not by a link?"""
MOST_SELECTED = 5
ROW_HEIGHT = 35
ROWS = 9
DENSE = "dense"
"""The kind of a row that is no run but the network before pruning."""
ALL = ""
"""The choice of all networks and data."""
TREE = N_("Tree")
NEWEST = N_("Newest first")
MOST_COLUMNS = 12
"""The most columns of fields that differ."""


@dataclass(frozen=True)
class Filters:
    """Which runs the chart and the table show. subject: a fingerprint, or `ALL`."""

    text: str
    kinds: tuple[str, ...]
    subject: str = ALL


def filters(runs: Sequence[Run]) -> Filters:
    """Draws the filters."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        for key in ("runs_text", "runs_kinds"):
            state.keep_widget(key)
        subject = _subject(runs)
        text = st.text_input(
            _("Search"),
            key="runs_text",
            icon=":material/search:",
            placeholder=_("network, criterion, tag, note, id …"),
            help=_("Shows runs with all these words."),
            width=280,
        )
        kinds = st.multiselect(
            _("Kinds"),
            [kind for kind in KINDS if any(run.kind == kind for run in runs)],
            format_func=lambda kind: _(KINDS[kind]),
            key="runs_kinds",
            placeholder=_("all kinds"),
            width=260,
        )
    return Filters(text, tuple(kinds), subject)


def _subject(runs: Sequence[Run]) -> str:
    """Draws the choice of a network and its data, where the runs have several."""
    subjects = _named_apart({run.fingerprint: subject_words(run) for run in reversed(runs)})
    if len(subjects) < 2:
        return ALL
    state.keep_widget("runs_subject")
    if state.widget_value("runs_subject", ALL) not in subjects:  # its last run was deleted
        state.set_widget("runs_subject", ALL)
    return st.selectbox(
        _("Network and data"),
        (ALL, *subjects),
        format_func=lambda base: subjects.get(base, _("all")),
        key="runs_subject",
        width=300,
    )


def _named_apart(subjects: dict[str, str]) -> dict[str, str]:
    """The words of each fingerprint; words that several have end with a part of it.

    A browser sends the words of the chosen one back, not its place.
    """
    times = Counter(subjects.values())
    return {
        base: f"{words} · {base[:8]}" if times[words] > 1 else words
        for base, words in subjects.items()
    }


def order_and_columns() -> tuple[str, bool]:
    """Draws the choices of the table: its order, and columns for differences only."""
    for key in ("runs_order", "runs_differ"):
        state.keep_widget(key)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        order = st.segmented_control(
            _("Order"),
            (TREE, NEWEST),
            format_func=_,
            default=TREE,
            required=True,
            key="runs_order",
            help=_("Tree: each run below the one that it was made from; pinned runs are first."),
        )
        differences = st.toggle(
            _("Differences only"),
            key="runs_differ",
            help=_("Columns for the settings in which the shown runs differ, and no others."),
        )
    return str(order), differences


def matching(runs: Sequence[Run], chosen: Filters) -> list[Run]:
    """The runs that pass the filters."""
    words = chosen.text.lower().split()
    return [
        run
        for run in runs
        if (not chosen.kinds or run.kind in chosen.kinds)
        and chosen.subject in (ALL, run.fingerprint)
        and (not words or all(word in _searched(run) for word in words))
    ]


def in_order(runs: Sequence[Run], order: str) -> list[tuple[int, Run]]:
    """The rows of the table, each run with its depth in the tree; 0 in other orders."""
    return _below_dense(tree_order(runs)) if order == TREE else [(0, run) for run in runs]


def _below_dense(rows: Sequence[tuple[int, Run]]) -> list[tuple[int, Run]]:
    """The tree with the dense network of each subject as the root of its runs; it has no id."""
    subjects: dict[str, list[tuple[int, Run]]] = {}
    for depth, run in rows:
        subjects.setdefault(run.fingerprint, []).append((depth + 1, run))
    listed = []
    for own in subjects.values():
        first = next((run for _depth, run in own if "dense" in run.values), own[0][1])
        values = {name: value for name, value in first.values.items() if name == "dense"}
        names = {name: first.names[name] for name in ("model", "dataset") if name in first.names}
        root = Run(DENSE, json.dumps(names), first.fingerprint, id="", task=first.task)
        listed += [(0, replace(root, values=values)), *own]
    return listed


def _searched(run: Run) -> str:
    parts = (run.id, run_title(run), kind_words(run), subject_words(run), run.model, run.dataset)
    return " ".join((*parts, run.note, *run.tags, run.state)).lower()


def runs_table(rows: Sequence[tuple[int, Run]], selected: Sequence[str], differ: bool) -> None:
    """Draws the table; a click on rows selects runs."""
    ids = [run.id for _depth, run in rows]
    columns = _columns()
    if all(run.state == FINISHED for _depth, run in rows):
        columns["State"] = None  # a column without a word
    state.set_selected_rows(KEY, [place for place, run in enumerate(ids) if run in selected])
    st.dataframe(
        _rows(rows, differ),
        key=KEY,
        column_config=columns,
        hide_index=True,
        height=int((min(len(rows), ROWS) + 1) * ROW_HEIGHT + 3),
        on_select=lambda: _selected(ids),
        selection_mode="multi-row",
        placeholder="",
        alt=_("{count} runs with their settings, values and costs.", count=len(rows)),
    )


def _selected(ids: Sequence[str]) -> None:
    rows = state.selected_rows(KEY)
    select([ids[row] for row in rows if row < len(ids) and ids[row]])


def select(runs: Sequence[str]) -> None:
    """Selects runs, the last `MOST_SELECTED` of them; the address carries them."""
    state.set_page_text(SELECTED, ",".join(runs[-MOST_SELECTED:]))
    state.store(CLICKED, True)


def _rows(rows: Sequence[tuple[int, Run]], differ: bool) -> list[dict[str, Any]]:
    fields = (
        differing_fields([run for _depth, run in rows if run.id])[:MOST_COLUMNS] if differ else []
    )
    return [_row(depth, run, fields, differ) for depth, run in rows]


def _row(depth: int, run: Run, fields: Sequence[str], differ: bool) -> dict[str, Any]:
    final = run.final
    indent = "\u2003" * (depth - 1) + "└ " if depth else ""
    pin = "★ " if run.pinned else ""
    row: dict[str, Any] = {
        "Run": f"{indent}{pin}{kind_words(run)}",
        "Value": "" if final is None else value_text(final.value, run.task),
        "State": "" if run.state == FINISHED else _(run.state),
    }
    if differ:
        plan = flat_plan(run)
        words = {field_label(name): field_words(plan, name) for name in fields}
        row |= words if run.id else dict.fromkeys(words, "")
    else:
        how = "" if run.kind == DENSE else run_title(run)
        row |= {"How": how, "Network": subject_words(run)}
    shares = {name: 100 * share for name, share in run.costs.items()}
    return row | {
        "n": None if final is None else final.n,
        "Split": "" if final is None else _(SPLITS[final.split]),
        "MACs": shares.get("macs"),
        "Parameters": shares.get("parameters"),
        "Bytes": shares.get("bytes"),
        "Seconds": run.seconds,
        "Started": started_words(run) if run.id else "",
        "Tags": ", ".join(run.tags),
        "Note": run.note,
        "Id": run.id,
    }


def _columns() -> dict[str, Any]:
    config = st.column_config
    left = _("What remains of the dense network. Computed.")
    return {
        "Run": config.TextColumn(_("Run"), pinned=True, width=190),
        "Value": config.TextColumn(
            _("Value"), help=_("The last measured value of the run."), width=70
        ),
        "State": config.TextColumn(_("State"), width=90),
        "How": config.TextColumn(_("How"), width=250),
        "Network": config.TextColumn(_("Network"), width=150),
        "n": config.NumberColumn(
            help=_("Samples of the measurement."), format="localized", width=65
        ),
        "Split": config.TextColumn(
            _("Split"),
            help=_("Trained runs are measured on the test split, others on the probe."),
            width=80,
        ),
        "MACs": config.NumberColumn(help=left, format="%.1f%%", width=75),
        "Parameters": config.NumberColumn(_("Parameters"), help=left, format="%.1f%%", width=85),
        "Bytes": config.NumberColumn(
            _("Bytes"),
            help=_("In the smallest sparse format. Computed."),
            format="%.1f%%",
            width=75,
        ),
        "Seconds": config.NumberColumn(_("Seconds"), format="%.1f", width=75),
        "Started": config.TextColumn(_("Started"), width=125),
        "Tags": config.TextColumn(_("Tags")),
        "Note": config.TextColumn(_("Note")),
        "Id": config.TextColumn(width=110),
    }
