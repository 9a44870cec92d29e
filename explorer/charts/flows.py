"""Masks over time: how much each mask update removes, and the state of each weight."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from explorer.charts.cells import square_cells
from explorer.charts.kept import kept
from explorer.charts.palette import (
    CHOSEN,
    KEPT,
    KEPT_CELL,
    PRUNED_CELL,
    PRUNED_CELL_ALPHA,
    PRUNED_MODEL,
    TUNED,
    translucent,
)
from explorer.charts.style import finish, interval_bars, whole_ticks
from explorer.texts.formats import axis_title, decimal_percent, listed, scale, value_text
from explorer.texts.translate import N_, _, from_core
from pruning_core.flows import History
from pruning_core.types import Evaluation

WEIGHT_STATES = (
    (N_("never removed"), KEPT_CELL),
    (N_("restored"), TUNED),
    (N_("removed earlier"), translucent(PRUNED_CELL, PRUNED_CELL_ALPHA / 255)),
    (N_("removed now"), PRUNED_MODEL),
)
"""What a mask update can do to a weight, in English, with its colour."""


@kept
def mask_update_chart(
    removed: Sequence[float],
    measured: Sequence[Evaluation],
    layer: Sequence[float],
    name: str,
) -> go.Figure:
    """Two panels over the mask updates: the fractions removed, and the value after each update.

    removed: of all pruned layers; layer: of the layer with that name; both are fractions in [0, 1].
    Number 0 of each is the dense network's.
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.09)
    _add_removed(figure, removed, _("removed, all layers"), {"color": KEPT})
    _add_removed(
        figure, layer, _("removed, {layer}", layer=name), {"color": CHOSEN, "dash": "dash"}
    )
    _add_values(figure, measured)
    task = measured[0].task
    figure.update_yaxes(title_text=_("removed, %"), range=[-4, 104], row=1, col=1)
    figure.update_yaxes(title_text=axis_title(task), row=2, col=1)
    figure.update_xaxes(whole_ticks(len(removed)))
    figure.update_xaxes(title_text=_("mask update"), row=2, col=1)
    sentence = _(
        "{ratio} removed and {name} {value} after the last of {n} mask updates.",
        ratio=decimal_percent(removed[-1]),
        name=from_core(task.short_label),
        value=value_text(measured[-1].value, task),
        n=len(removed) - 1,
    )
    return finish(figure, sentence, 400, "mask updates")


def _add_removed(
    figure: go.Figure, removed: Sequence[float], name: str, look: dict[str, str]
) -> None:
    figure.add_scatter(
        y=_percents(removed),
        mode="lines+markers",
        name=name,
        line={"shape": "hv", "width": 2.5, **look},
        row=1,
        col=1,
    )


def _add_values(figure: go.Figure, measured: Sequence[Evaluation]) -> None:
    task = measured[0].task
    figure.add_scatter(
        y=[scale(task) * evaluation.value for evaluation in measured],
        mode="lines+markers",
        name=_("{value} after the update", value=from_core(task.value_label)),
        line={"color": PRUNED_MODEL, "width": 2},
        error_y=interval_bars(measured, scale(task), thickness=1.2, width=4),
        row=2,
        col=1,
    )


def _percents(fractions: Sequence[float]) -> list[float]:
    return [100 * fraction for fraction in fractions]


def weight_states(history: History, frame: int) -> np.ndarray:
    """The state of every weight at a frame, as its index in `WEIGHT_STATES`. uint8, O I H W."""
    kept = history.mask(frame).numpy()
    restored = history.returns(frame).numpy() > 0
    now = (history.removed_at(frame).numpy() == frame) & (frame > 0)
    return np.where(kept, np.where(restored, 1, 0), np.where(now, 3, 2)).astype(np.uint8)


def mask_over_time(history: History, frame: int) -> go.Figure:
    """The weights of the layer at that frame, each in the colour of its state.

    Kernels are side by side, filters downwards.
    """
    states = weight_states(history, frame)
    cells = square_cells(states)
    count = len(WEIGHT_STATES)
    scale = [
        [edge, colour]
        for index, (_name, colour) in enumerate(WEIGHT_STATES)
        for edge in (index / count, (index + 1) / count)
    ]
    hover = (
        {"hoverinfo": "skip"}
        if cells.labels is None
        else {"hovertemplate": "%{text}<extra></extra>"}
    )
    look = {"zmin": -0.5, "zmax": count - 0.5, "colorscale": scale, "showscale": False}
    figure = go.Figure(cells.heatmap(**look, **hover))
    counts = np.bincount(states.ravel(), minlength=count)
    _add_legend(figure, counts)
    height = cells.frame(figure)
    values = listed(
        f"{number:,} {_(name)}" for (name, _c), number in zip(WEIGHT_STATES, counts, strict=True)
    )
    sentence = _(
        "{layer} after mask update {n} of {total}: {states}.",
        layer=history.layer,
        n=frame,
        total=len(history) - 1,
        states=values,
    )
    return finish(figure, sentence, height, f"weight states {history.layer}")


def _add_legend(figure: go.Figure, counts: np.ndarray) -> None:
    """Empty traces, one per state, for the legend of the heatmap."""
    for (name, colour), number in zip(WEIGHT_STATES, counts, strict=True):
        marker = {"symbol": "square", "size": 11, "color": colour}
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="markers",
            marker=marker,
            name=_("{state}: {n:,}", state=_(name), n=number),
        )
