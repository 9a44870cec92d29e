"""Lesson 1: accuracy over sparsity, with and without fine-tuning. A stored run is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from explorer.charts.palette import CHOSEN, PRUNED_MODEL, TUNED, translucent
from explorer.charts.style import finish
from explorer.pages.learn.lesson import Drawn, address
from explorer.pages.learn.stored import stored
from explorer.texts.formats import decimal_percent, percent
from explorer.texts.lessons import Words
from pruning_core.intervals import wilson_interval
from pruning_core.pipeline import prune
from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig
from pruning_core.types import Finished
from pruning_core.workspaces import Workspace

SPARSITIES = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99)
EPOCHS = 1
RUN = "why"
CURVES = (("tuned", TUNED, "solid"), ("pruned", PRUNED_MODEL, "dot"))
"""Field of a point, colour and dash of its curve."""
PLACES = {"tuned": 0.62, "pruned": 0.52}
"""The heights of the names of the curves, which have free space at their left below them."""


@dataclass(frozen=True)
class Point:
    """Accuracies on the test images of one sparsity. n: their number."""

    sparsity: float
    dense: float
    pruned: float
    tuned: float
    n: int


def plan_at(sparsity: float) -> Plan:
    """Global magnitude, then one epoch of fine-tuning."""
    return Plan(sparsity=sparsity, allocation="global", fine_tune=TrainConfig(epochs=EPOCHS))


def measure(space: Workspace, sparsity: float) -> Point:
    """The point of that sparsity."""
    *_, done = prune(plan_at(sparsity), space)
    assert isinstance(done, Finished)
    assert done.tuned is not None
    return Point(sparsity, done.dense.value, done.pruned.value, done.tuned.value, done.dense.n)


def draw(sparsity: float, words: Words) -> Drawn:
    """Two curves, and a mark at the chosen sparsity."""
    points = [Point(**point) for point in stored(RUN)["points"]]
    at = next(point for point in points if point.sparsity == sparsity)
    values = {
        "sparsity": percent(sparsity),
        "left": f"{1 / (1 - sparsity):.3g}",
        "dense": decimal_percent(at.dense),
        "pruned": decimal_percent(at.pruned),
        "tuned": decimal_percent(at.tuned),
        "n": at.n,
    }
    figure = finish(_figure(points, words), words("alt", **values), 470, "why")
    _mark(figure, at, words)
    return Drawn(figure, values, 2, address(plan_at(sparsity)))


def _figure(points: Sequence[Point], words: Words) -> go.Figure:
    figure = go.Figure()
    x = [100 * point.sparsity for point in points]
    for name, colour, dash in CURVES:
        _band(figure, [(getattr(point, name), point.n) for point in points], x, colour)
        figure.add_scatter(
            x=x,
            y=[100 * getattr(point, name) for point in points],
            name=words(name),
            mode="lines+markers",
            line={"color": colour, "width": 3, "dash": dash},
            marker_size=6,
            hovertemplate="%{x:.0f}%: %{y:.1f}%",
        )
    figure.update_layout(showlegend=False)
    figure.update_xaxes(title_text=words("x"), range=[0, 100.5], ticksuffix="%")
    figure.update_yaxes(title_text=words("y", n=points[0].n), range=[0, 104], ticksuffix="%")
    return figure


def _band(
    figure: go.Figure, measured: Sequence[tuple[float, int]], x: list[float], colour: str
) -> None:
    """The 95% intervals of accuracies, each with its number of images."""
    ends = [wilson_interval(round(value * n), n) for value, n in measured]
    figure.add_scatter(
        x=[*x, *reversed(x)],
        y=[100 * high for _, high in ends] + [100 * low for low, _ in reversed(ends)],
        mode="lines",
        line_width=0,
        fill="toself",
        fillcolor=translucent(colour, 0.18),
        hoverinfo="skip",
    )


def _mark(figure: go.Figure, at: Point, words: Words) -> None:
    """The chosen sparsity with both accuracies, and the names of the curves beside them."""
    x = 100 * at.sparsity
    figure.add_vline(x=x, line={"color": CHOSEN, "width": 1.5, "dash": "dash"})
    for name, colour, _ in CURVES:
        y = 100 * getattr(at, name)
        figure.add_scatter(
            x=[x],
            y=[y],
            mode="markers",
            marker={"size": 15, "color": colour, "line": {"color": "white", "width": 2}},
            hoverinfo="skip",
        )
        figure.add_annotation(
            x=0.02,
            xref="paper",
            y=PLACES[name],
            yref="paper",
            text=f"<b>{words(name)}: {decimal_percent(getattr(at, name))}</b>",
            font={"color": colour, "size": 16},
            showarrow=False,
            xanchor="left",
        )
