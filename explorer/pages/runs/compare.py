"""Two to five runs side by side."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import streamlit as st

from explorer.charts import alt
from explorer.charts.runs import epoch_lines, removed_lines
from explorer.charts.style import state_label
from explorer.pages.runs.transfer import delete
from explorer.session.notices import show_errors
from explorer.texts.formats import percent, signed, value_text
from explorer.texts.run_words import (
    COSTS,
    cost_text,
    field_label,
    field_words,
    kind_words,
)
from explorer.training.changed_answers import verdict
from pruning_core.history import History, Run
from pruning_core.history.compare import masks_of, overlap, paired_change, total_overlap
from pruning_core.history.tables import differing_fields, flat_plan
from pruning_core.history.tensors import CURVES, unpack_curves
from pruning_core.tasks import Change


def compare_panel(history: History, runs: Sequence[Run]) -> None:
    """Draws the comparison; the pinned run, else the first, is the reference."""
    ordered = sorted(runs, key=lambda run: not run.pinned)
    names = {run.id: _short(run, at) for at, run in enumerate(ordered)}
    st.subheader(f"{len(ordered)} runs side by side", anchor=False)
    st.caption(
        f"Changes are against {names[ordered[0].id]}, on the same samples where both runs kept "
        "their answers (paired 95% intervals)."
    )
    with show_errors():
        _numbers(history, ordered, names)
    halves = st.grid(2, min_column_width=420, gap="medium")
    with halves.cell(), show_errors():
        _ratios(ordered, names)
    with halves.cell(), show_errors():
        _curves(history, ordered, names)
    with show_errors():
        _overlaps(history, ordered, names)
    st.button(
        f"Delete these {len(ordered)} runs",
        icon=":material/delete:",
        key="runs_delete",
        on_click=delete,
        args=(history, [run.id for run in ordered]),
        help="You can undo it.",
    )


def _short(run: Run, at: int) -> str:
    return f"{chr(65 + at)} · {kind_words(run)} {run.id[:4]}"


def _numbers(history: History, runs: Sequence[Run], names: dict[str, str]) -> None:
    """A row per number, a column per run; then the settings that differ."""
    rows: list[dict[str, Any]] = []

    def add(label: str, cells: Sequence[str]) -> None:
        if any(cells):
            rows.append({"": label, **dict(zip(names.values(), cells, strict=True))})

    add("Value", [_value(run) for run in runs])
    add("95% interval, n", [_interval(run) for run in runs])
    changes = [paired_change(history, runs[0], run) for run in runs[1:]]
    add("Change (paired)", ["reference", *map(_change, changes)])
    flips = [("", ""), *map(_flips, changes)]
    add("Changed answers", [words for words, _ in flips])
    add("Chance", [chance for _, chance in flips])
    for cost, label in COSTS.items():
        add(f"{label} left", [cost_text(run, cost) for run in runs])
    add("Seconds", ["" if run.seconds is None else f"{run.seconds:.1f}" for run in runs])
    plans = [flat_plan(run) for run in runs]
    for name in differing_fields(runs):
        add(field_label(name), [field_words(plan, name) for plan in plans])
    st.dataframe(
        rows,
        hide_index=True,
        column_config={"": st.column_config.TextColumn(pinned=True, width=150)},
        alt="Values, costs and settings of the selected runs.",
        height="content",
    )


def _value(run: Run) -> str:
    final = run.final
    if final is None:
        return run.state
    return f"{value_text(final.value, run.task)} {state_label(tuple(run.values)[-1])}"


def _interval(run: Run) -> str:
    final = run.final
    if final is None:
        return ""
    low, high = (value_text(end, run.task) for end in (final.low, final.high))
    return f"{low} to {high}, {final.n:,} {final.split}"


def _change(change: Change | None) -> str:
    if change is None:
        return "not comparable"
    return signed(change.value, change.interval, change.task)


def _flips(change: Change | None) -> tuple[str, str]:
    """How many answers changed, and whether that is more than chance."""
    if change is None or change.gained is None or change.lost is None:
        return "", ""
    words = f"{change.lost} newly wrong, {change.gained} newly right"
    return words, verdict(change.lost, change.gained)


def _ratios(runs: Sequence[Run], names: dict[str, str]) -> None:
    removed = {
        names[run.id]: {layer: 1 - share for layer, share in run.kept.items()}
        for run in runs
        if run.kept
    }
    if not removed:
        st.caption("None of these runs kept its layers' ratios.")
        return
    figure = removed_lines(removed)
    st.plotly_chart(figure, key="compare_ratios", alt=alt(figure), config={"displayModeBar": False})


def _curves(history: History, runs: Sequence[Run], names: dict[str, str]) -> None:
    curves = {
        names[run.id]: unpack_curves(content)
        for run in runs
        if (content := history.file(run, CURVES)) is not None
    }
    if not curves:
        st.caption("None of these runs was trained.")
        return
    figure = epoch_lines(curves, runs[0].task)
    st.plotly_chart(figure, key="compare_epochs", alt=alt(figure), config={"displayModeBar": False})


def _overlaps(history: History, runs: Sequence[Run], names: dict[str, str]) -> None:
    """How much of what two runs remove is the same, over all layers and layer by layer."""
    masks = {run.id: own for run in runs if (own := masks_of(history, run))}
    if len(masks) < 2:
        return
    rows = []
    for one, other in combinations(masks, 2):
        total = total_overlap(masks[one], masks[other])
        if total is None:
            continue
        layers = overlap(masks[one], masks[other])
        pair = f"{names[one].partition(' ')[0]} and {names[other].partition(' ')[0]}"
        cells = {name: percent(share) for name, share in layers.items()}
        rows.append({"Masks": pair, "All layers": percent(total), **cells})
    if rows:
        st.markdown(
            "**Overlap of the masks**",
            help="Of the weights that either run removes, the share that both remove.",
        )
        st.dataframe(rows, hide_index=True, alt="Overlap of the masks of each pair of runs.")
