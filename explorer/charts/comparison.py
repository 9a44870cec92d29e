"""Bars that compare networks: accuracy, recall per class, and accuracy with one layer pruned."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from explorer.charts.curves import curve_name, one_per_group
from explorer.charts.palette import BASELINE, GAIN, LOSS
from explorer.charts.style import finish, patterned, percent, state_label, state_look
from explorer.texts.formats import signed
from pruning_core.types import Evaluation, SensitivityPoint


def comparison_bars(evaluations: Mapping[str, Evaluation]) -> go.Figure:
    """Top-1 accuracy of each state, from 0, with its Wilson 95% interval.

    evaluations: by state, "dense", "pruned", "recalibrated" or "tuned".
    """
    figure = go.Figure()
    for state, evaluation in evaluations.items():
        _add_accuracy_bar(figure, state, evaluation)
    figure.update_layout(showlegend=False, bargap=0.45)
    figure.update_yaxes(
        title_text="top-1 accuracy, %", range=[0, 104], tickvals=[0, 20, 40, 60, 80, 100]
    )
    values = ", ".join(
        f"{state_label(state)} {percent(evaluation.value)}"
        for state, evaluation in evaluations.items()
    )
    return finish(figure, f"Accuracy: {values}.", 340, "comparison")


def _add_accuracy_bar(figure: go.Figure, state: str, evaluation: Evaluation) -> None:
    colour, pattern = state_look(state)
    label = state_label(state)
    top1 = evaluation.value
    low, high = evaluation.interval
    whisker = {
        "type": "data",
        "array": [100 * (high - top1)],
        "arrayminus": [100 * (top1 - low)],
        "color": colour,
        "thickness": 2.5,
        "width": 12,
    }
    figure.add_bar(
        x=[f"{label}<br><b>{percent(top1)}</b>"],
        y=[100 * top1],
        error_y=whisker,
        marker=patterned(colour, pattern),
        name=label,
        hovertemplate=f"<b>{label}</b><br>top-1 {percent(top1)} ({percent(low)} to {percent(high)})"
        f"<br>loss {evaluation.loss:.3f}<br>{evaluation.n:,} images<extra></extra>",
    )


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
        customdata=[[percent(old), percent(new)] for _, old, new in rows],
        hovertemplate="<b>%{y}</b><br>%{customdata[0]} before, "
        "%{customdata[1]} after<extra></extra>",
    )
    low = min(-1.0, float(change.min(initial=0)))
    high = max(1.0, float(change.max(initial=0)))
    margin = 0.2 * (high - low)  # for the numbers at the ends of the bars
    figure.update_xaxes(
        title_text="change in recall, points", range=[low - margin, high + margin], zeroline=True
    )
    sentence = _class_sentence(names, change, states)
    return finish(figure, sentence, 120 + 26 * len(rows), "classes")


def _class_sentence(names: Sequence[str], change: np.ndarray, states: tuple[str, str]) -> str:
    """names, change: per class, lowest change first."""
    summary = "no class lost"
    if names and change[0] < 0:
        summary = f"the largest loss is {change[0]:+.1f} points ({names[0]})"
    first, second = map(state_label, states)
    return f"Change per class from {first} to {second}: {summary}."


def sensitivity_slice(points: Sequence[SensitivityPoint]) -> go.Figure:
    """Change of top-1 accuracy, in points, with one layer pruned; the most sensitive layer first.

    points: one per layer. Layers that are pruned together have one bar. Whisker: the 95% interval
    of the change on the same images.
    """
    ordered = sorted(one_per_group(points), key=lambda point: point.value)
    names = [curve_name(point) for point in ordered]
    change = np.array([100 * point.change for point in ordered])
    low = np.array([100 * point.change_interval[0] for point in ordered])
    high = np.array([100 * point.change_interval[1] for point in ordered])
    whisker = {
        "type": "data",
        "array": high - change,
        "arrayminus": change - low,
        "thickness": 1.5,
        "width": 3,
        "color": BASELINE,
    }
    figure = _change_bars(
        change,
        names,
        error_x=whisker,
        customdata=[
            [
                percent(point.achieved),
                percent(point.value),
                signed(point.change, point.change_interval),
            ]
            for point in ordered
        ],
        hovertemplate="<b>%{y}</b><br>%{customdata[0]} removed, top-1 %{customdata[1]}"
        "<br>%{customdata[2]}<extra></extra>",
    )
    figure.update_xaxes(title_text="change of top-1 accuracy, points", zeroline=True)
    lowest = f"{names[0]} loses most ({change[0]:+.1f} points)" if names else ""
    summary = lowest if (change < 0).any() else "no layer loses"
    sentence = f"Accuracy with one layer pruned: {summary}."
    return finish(figure, sentence, 120 + 24 * len(ordered), "slice")


def _change_bars(change: np.ndarray, names: Sequence[str], **look: Any) -> go.Figure:
    """Horizontal bars of changes. A loss has another colour and a pattern."""
    loss = change < 0
    marker = patterned(np.where(loss, LOSS, GAIN).tolist(), np.where(loss, "/", "").tolist())
    figure = go.Figure(go.Bar(x=change, y=names, orientation="h", marker=marker, **look))
    figure.update_yaxes(
        type="category", autorange="reversed", showgrid=False, ticks="", showline=False
    )
    return figure
