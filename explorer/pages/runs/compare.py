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
    SPLITS,
    cost_text,
    field_label,
    field_words,
    kind_words,
)
from explorer.texts.translate import _
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
    st.subheader(_("{count} runs side by side", count=len(ordered)), anchor=False)
    st.caption(
        _(
            "Changes are against {run}, on the same samples where both runs kept their answers "
            "(paired 95% intervals).",
            run=names[ordered[0].id],
        )
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
        _("Delete these {count} runs", count=len(ordered)),
        icon=":material/delete:",
        key="runs_delete",
        on_click=delete,
        args=(history, [run.id for run in ordered]),
        disabled=bool(history.read_only),
        help=_("You can undo it."),
    )


def _short(run: Run, at: int) -> str:
    return f"{chr(65 + at)} · {kind_words(run)} {run.id[:4]}"


def _numbers(history: History, runs: Sequence[Run], names: dict[str, str]) -> None:
    """A row per number, a column per run; then the settings that differ."""
    rows: list[dict[str, Any]] = []

    def add(label: str, cells: Sequence[str]) -> None:
        if any(cells):
            rows.append({"": label, **dict(zip(names.values(), cells, strict=True))})

    add(_("Value"), [_value(run) for run in runs])
    add(_("95% interval, n"), [_interval(run) for run in runs])
    changes = [paired_change(history, runs[0], run) for run in runs[1:]]
    why = [_change(each, runs[0], run) for each, run in zip(changes, runs[1:], strict=True)]
    add(_("Change (paired)"), [_("reference"), *why])
    flips = [("", ""), *map(_flips, changes)]
    add(_("Changed answers"), [words for words, _ in flips])
    add(_("Chance"), [chance for _, chance in flips])
    for cost, label in COSTS.items():
        add(_("{cost} left", cost=_(label)), [cost_text(run, cost) for run in runs])
    seconds = ["" if run.seconds is None else f"{run.seconds:.1f}" for run in runs]
    add(_("Seconds"), seconds)
    plans = [flat_plan(run) for run in runs]
    for name in differing_fields(runs):
        add(field_label(name), [field_words(plan, name) for plan in plans])
    st.dataframe(
        rows,
        hide_index=True,
        column_config={"": st.column_config.TextColumn(pinned=True, width=150)},
        alt=_("Values, costs and settings of the selected runs."),
        height="content",
    )


def _value(run: Run) -> str:
    final = run.final
    if final is None:
        return _(run.state)
    return f"{value_text(final.value, run.task)} {state_label(tuple(run.values)[-1])}"


def _interval(run: Run) -> str:
    final = run.final
    if final is None:
        return ""
    low, high = (value_text(end, run.task) for end in (final.low, final.high))
    split = _(SPLITS[final.split])
    return _("{low} to {high}, {n:,} {split}", low=low, high=high, n=final.n, split=split)


def _change(change: Change | None, one: Run, other: Run) -> str:
    """The change in words, or why there is none."""
    if change is None and one.fingerprint != other.fingerprint:
        return _("none: another network or other data")
    if change is None and one.final and other.final and one.final.split != other.final.split:
        return _("none: another split")
    if change is None:
        return _("none: other samples, or answers not kept")
    return signed(change.value, change.interval, change.task)


def _flips(change: Change | None) -> tuple[str, str]:
    """How many answers changed, and whether that is more than chance."""
    if change is None or change.gained is None or change.lost is None:
        return "", ""
    words = _("{lost} newly wrong, {gained} newly right", lost=change.lost, gained=change.gained)
    return words, verdict(change.lost, change.gained)


def _ratios(runs: Sequence[Run], names: dict[str, str]) -> None:
    removed = {
        names[run.id]: {layer: 1 - share for layer, share in run.kept.items()}
        for run in runs
        if run.kept
    }
    if not removed:
        st.caption(_("None of these runs kept its layers' ratios."))
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
        st.caption(_("None of these runs was trained."))
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
        first, second = (names[run].partition(" ")[0] for run in (one, other))
        pair = _("{one} and {other}", one=first, other=second)
        cells = {name: percent(share) for name, share in layers.items()}
        rows.append({_("Masks"): pair, _("All layers"): percent(total), **cells})
    if rows:
        st.markdown(
            _("**Overlap of the masks**"),
            help=_("Of the weights that either run removes, the share that both remove."),
        )
        alt = _("Overlap of the masks of each pair of runs.")
        st.dataframe(rows, hide_index=True, alt=alt)
