"""Before and after: accuracy with its interval, and what happened to each class."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from explorer.charts.palette import BASELINE, GAIN, LOSS
from explorer.charts.style import finish, patterned, percent, state_label, state_look
from explorer.pages.sensitivity.run import curve_name, shared
from explorer.texts.formats import signed
from pruning_core.types import Evaluation, SensitivityPoint


def comparison_bars(evaluations: Mapping[str, Evaluation]) -> go.Figure:
    """Top-1 accuracy of each state ("dense", "pruned", "recalibrated", "tuned") with its Wilson 95%
    interval, from zero.
    """
    figure = go.Figure()
    for state, e in evaluations.items():
        colour, pattern = state_look(state)
        low, high = e.interval
        whisker = {
            "type": "data",
            "array": [100 * (high - e.top1)],
            "arrayminus": [100 * (e.top1 - low)],
        }
        figure.add_bar(
            x=[f"{state_label(state)}<br><b>{percent(e.top1)}</b>"],
            y=[100 * e.top1],
            error_y={**whisker, "color": colour, "thickness": 2.5, "width": 12},
            marker=patterned(colour, pattern),
            name=state_label(state),
            hovertemplate=f"<b>{state_label(state)}</b><br>top-1 {percent(e.top1)} ({percent(low)} to {percent(high)})"
            f"<br>loss {e.loss:.3f}<br>{e.n:,} images<extra></extra>",
        )
    figure.update_layout(showlegend=False, bargap=0.45)
    figure.update_yaxes(
        title_text="top-1 accuracy, %", range=[0, 104], tickvals=[0, 20, 40, 60, 80, 100]
    )
    told = ", ".join(f"{state_label(state)} {percent(e.top1)}" for state, e in evaluations.items())
    return finish(figure, f"Accuracy: {told}.", 340, "comparison")


def class_change(
    classes: Sequence[str],
    before: Sequence[float | None],
    after: Sequence[float | None],
    *,
    states: tuple[str, str] = ("dense", "tuned"),
) -> go.Figure:
    """Recall per class, after minus before, in points, worst first; classes without images are left
    out.

    Raises ValueError when the three sequences differ in length.
    """
    rows = [
        (c, b, a)
        for c, b, a in zip(classes, before, after, strict=True)
        if b is not None and a is not None
    ]
    rows.sort(key=lambda row: row[2] - row[1])
    names = [row[0] for row in rows]
    change = np.array([100 * (row[2] - row[1]) for row in rows])
    worse = change < 0
    figure = go.Figure(
        go.Bar(
            x=change,
            y=names,
            orientation="h",
            marker=patterned(
                np.where(worse, LOSS, GAIN).tolist(), np.where(worse, "/", "").tolist()
            ),
            text=[f"{value:+.1f}" for value in change],
            textposition="outside",
            cliponaxis=False,
            customdata=[[percent(b), percent(a)] for _, b, a in rows],
            hovertemplate="<b>%{y}</b><br>%{customdata[0]} before, %{customdata[1]} after<extra></extra>",
        )
    )
    low = min(-1.0, float(change.min(initial=0)))
    high = max(1.0, float(change.max(initial=0)))
    room = 0.2 * (high - low)  # for the numbers at the bars' ends
    figure.update_xaxes(
        title_text="change in recall, points", range=[low - room, high + room], zeroline=True
    )
    figure.update_yaxes(
        type="category", autorange="reversed", showgrid=False, ticks="", showline=False
    )
    one, other = map(state_label, states)
    told = (
        f"the most lost is {change.min():+.1f} points ({names[0]})"
        if names and worse.any()
        else "no class lost"
    )
    return finish(
        figure, f"Change per class from {one} to {other}: {told}.", 120 + 26 * len(rows), "classes"
    )


def sensitivity_slice(points: Sequence[SensitivityPoint]) -> go.Figure:
    """Change of top-1 accuracy, in points, with each layer alone cut; one point per layer, the most
    sensitive first.

    whiskers: the 95% interval of the change on the same images; one bar for layers cut together.
    """
    ordered = sorted(shared(points), key=lambda point: point.top1)
    change = np.array([100 * point.change for point in ordered])
    low, high = (
        np.array([100 * point.change_interval[side] for point in ordered]) for side in (0, 1)
    )
    worse = change < 0
    whisker = {"thickness": 1.5, "width": 3, "color": BASELINE}
    figure = go.Figure(
        go.Bar(
            x=change,
            y=[curve_name(point) for point in ordered],
            orientation="h",
            marker=patterned(
                np.where(worse, LOSS, GAIN).tolist(), np.where(worse, "/", "").tolist()
            ),
            error_x={"type": "data", "array": high - change, "arrayminus": change - low, **whisker},
            customdata=[
                [percent(p.achieved), percent(p.top1), signed(p.change, p.change_interval)]
                for p in ordered
            ],
            hovertemplate="<b>%{y}</b><br>%{customdata[0]} removed, top-1 %{customdata[1]}<br>%{customdata[2]}<extra></extra>",
        )
    )
    figure.update_xaxes(title_text="change of top-1 accuracy, points", zeroline=True)
    figure.update_yaxes(
        type="category", autorange="reversed", showgrid=False, ticks="", showline=False
    )
    told = (
        f"{curve_name(ordered[0])} loses most ({change[0]:+.1f} points)"
        if ordered and worse.any()
        else "no layer loses"
    )
    return finish(figure, f"Accuracy with one layer cut: {told}.", 120 + 24 * len(ordered), "slice")
