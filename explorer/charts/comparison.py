"""Bars that compare networks: accuracy, recall per class, and accuracy with one layer pruned."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from explorer.charts.curves import curve_name, one_per_group
from explorer.charts.kept import kept
from explorer.charts.palette import BASELINE, GAIN, LOSS
from explorer.charts.style import (
    finish,
    interval_bars,
    patterned,
    state_label,
    state_look,
    whiskers,
)
from explorer.texts.formats import (
    axis_title,
    change_text,
    decimal_percent,
    listed,
    points,
    scale,
    signed,
    title,
    value_text,
)
from explorer.texts.translate import _, from_core
from pruning_core.tasks import CLASSIFICATION, Task
from pruning_core.types import Evaluation, SensitivityPoint


@kept
def comparison_bars(evaluations: Mapping[str, Evaluation]) -> go.Figure:
    """The task's value of each state, from 0, with its 95% interval.

    evaluations: by state, "dense", "pruned", "recalibrated" or "tuned".
    """
    figure = go.Figure()
    for state, evaluation in evaluations.items():
        _add_value_bar(figure, state, evaluation)
    figure.update_layout(showlegend=False, bargap=0.45)
    task = next(iter(evaluations.values())).task if evaluations else CLASSIFICATION
    figure.update_yaxes(title_text=axis_title(task), rangemode="tozero")
    if task.percent:
        figure.update_yaxes(range=[0, 104], tickvals=[0, 20, 40, 60, 80, 100])
    values = listed(
        f"{state_label(state)} {value_text(evaluation.value, task)}"
        for state, evaluation in evaluations.items()
    )
    sentence = _("{value}: {values}.", value=title(task), values=values)
    return finish(figure, sentence, 340, "comparison")


def _add_value_bar(figure: go.Figure, state: str, evaluation: Evaluation) -> None:
    task = evaluation.task
    unit = scale(task)
    colour, pattern = state_look(state)
    label = state_label(state)
    value = evaluation.value
    low, high = evaluation.interval
    shown = _(
        "{value} ({low} to {high})",
        value=value_text(value, task),
        low=value_text(low, task),
        high=value_text(high, task),
    )
    loss = _("loss {loss}", loss=f"{evaluation.loss:.3f}")
    images = _("{n} {samples}", n=f"{evaluation.n:,}", samples=from_core(task.samples))
    figure.add_bar(
        x=[f"{label}<br><b>{value_text(value, task)}</b>"],
        y=[unit * value],
        error_y=interval_bars([evaluation], unit, color=colour, thickness=2.5, width=12),
        marker=patterned(colour, pattern),
        name=label,
        hovertemplate=f"<b>{label}</b><br>{from_core(task.short_label)} {shown}"
        f"<br>{loss}<br>{images}<extra></extra>",
    )


@kept
def class_change(
    classes: Sequence[str],
    before: Sequence[float | None],
    after: Sequence[float | None],
    *,
    states: tuple[str, str] = ("dense", "tuned"),
) -> go.Figure:
    """Recall per class, after minus before, in points, lowest first.

    Classes without images (None) are left out. Raises ValueError when the lengths differ.
    """
    rows = sorted(
        (
            (name, old, new)
            for name, old, new in zip(classes, before, after, strict=True)
            if old is not None and new is not None
        ),
        key=lambda row: row[2] - row[1],
    )
    names = [row[0] for row in rows]
    change = np.array([100 * (new - old) for _, old, new in rows])
    figure = _change_bars(
        change,
        names,
        text=[f"{value:+.1f}" for value in change],
        textposition="outside",
        cliponaxis=False,
        customdata=[[decimal_percent(old), decimal_percent(new)] for _, old, new in rows],
        hovertemplate="<b>%{y}</b><br>"
        + _("{old} before, {new} after", old="%{customdata[0]}", new="%{customdata[1]}")
        + "<extra></extra>",
    )
    low = min(-1.0, float(change.min(initial=0)))
    high = max(1.0, float(change.max(initial=0)))
    margin = 0.2 * (high - low)  # for the numbers at the ends of the bars
    span = [low - margin, high + margin]
    figure.update_xaxes(title_text=_("change in recall, points"), range=span, zeroline=True)
    sentence = _class_sentence(names, change, states)
    return finish(figure, sentence, 120 + 26 * len(rows), "classes")


def _class_sentence(names: Sequence[str], change: np.ndarray, states: tuple[str, str]) -> str:
    """names, change: per class, lowest change first."""
    first, second = map(state_label, states)
    if not names or change[0] >= 0:
        return _(
            "Change per class from {first} to {second}: no class lost.", first=first, second=second
        )
    return _(
        "Change per class from {first} to {second}: the largest loss is {change} points ({name}).",
        first=first,
        second=second,
        change=f"{change[0]:+.1f}",
        name=names[0],
    )


@kept
def sensitivity_slice(points: Sequence[SensitivityPoint]) -> go.Figure:
    """Change of the task's value with one layer pruned; the most sensitive layer first.

    points: one per layer. Layers that are pruned together have one bar. Whisker: the 95% interval
    of the change on the same images.
    """
    ordered = sorted(one_per_group(points), key=lambda point: point.task.sign * point.value)
    names = [curve_name(point) for point in ordered]
    task = ordered[0].task if ordered else CLASSIFICATION
    change = scale(task) * np.array([point.change for point in ordered])
    spans = [(point.change, *point.change_interval) for point in ordered]
    figure = _change_bars(
        change,
        names,
        task.sign,
        error_x=whiskers(spans, scale(task), thickness=1.5, width=3, color=BASELINE),
        customdata=[
            [
                decimal_percent(point.achieved),
                value_text(point.value, task),
                signed(point.change, point.change_interval, task),
            ]
            for point in ordered
        ],
        hovertemplate="<b>%{y}</b><br>"
        + _(
            "{ratio} removed, {name} {value}",
            ratio="%{customdata[0]}",
            name=from_core(task.short_label),
            value="%{customdata[1]}",
        )
        + "<br>%{customdata[2]}<extra></extra>",
    )
    figure.update_xaxes(title_text=_change_title(task), zeroline=True)
    return finish(figure, _slice_sentence(ordered, task), 120 + 24 * len(ordered), "slice")


def _change_title(task: Task) -> str:
    label = from_core(task.axis_label)
    if task.percent:
        return _("change of {value}, points", value=label)
    return _("change of {value}", value=label)


def _slice_sentence(ordered: Sequence[SensitivityPoint], task: Task) -> str:
    """ordered: the most sensitive layer first."""
    if all(task.sign * point.change >= 0 for point in ordered):
        return _("{value} with one layer pruned: no layer loses.", value=title(task))
    return _(
        "{value} with one layer pruned: {layer} loses most ({change}).",
        value=title(task),
        layer=curve_name(ordered[0]),
        change=f"{change_text(ordered[0].change, task)}{points(task)}",
    )


def _change_bars(change: np.ndarray, names: Sequence[str], sign: int = 1, **look: Any) -> go.Figure:
    """Horizontal bars of changes. A loss has another colour and a pattern.

    sign: 1 where a larger value is better, else -1.
    """
    loss = sign * change < 0
    marker = patterned(np.where(loss, LOSS, GAIN).tolist(), np.where(loss, "/", "").tolist())
    figure = go.Figure(go.Bar(x=change, y=names, orientation="h", marker=marker, **look))
    figure.update_yaxes(
        type="category", autorange="reversed", showgrid=False, ticks="", showline=False
    )
    return figure
