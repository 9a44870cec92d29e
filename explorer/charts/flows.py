"""Masks over time: how much is removed when, and which weights went and came back."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from explorer.charts.cells import folded
from explorer.charts.palette import CHOSEN, KEPT, KEPT_CELL, PRUNED_CELL, PRUNED_MODEL, TUNED
from explorer.charts.style import MOST_TICKS, finish, percent
from pruning_core.flows import History

FATES = (
    ("never removed", KEPT_CELL),
    ("came back", TUNED),
    ("removed", PRUNED_CELL),
    ("removed just now", PRUNED_MODEL),
)


def moments_chart(
    removed: Sequence[float],
    top1: Sequence[float],
    intervals: Sequence[tuple[float, float]],
    layer: Sequence[float],
    name: str,
) -> go.Figure:
    """What is removed, in % of all layers that are cut and of one layer, above the accuracy right
    after each cut, by moment.

    The first of each is the dense network's, so that moment 0 is before the first cut. intervals:
    of the accuracies, in [0, 1].
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.09)
    look = {"shape": "hv", "width": 2.5}
    figure.add_scatter(
        y=_percents(removed),
        mode="lines+markers",
        name="removed, all layers",
        line=look | {"color": KEPT},
        row=1,
        col=1,
    )
    line = look | {"color": CHOSEN, "dash": "dash"}
    figure.add_scatter(
        y=_percents(layer), mode="lines+markers", name=f"removed, {name}", line=line, row=1, col=1
    )
    low, high = np.array(intervals).T
    ends = {"array": 100 * (high - np.array(top1)), "arrayminus": 100 * (np.array(top1) - low)}
    whisker = {"type": "data", "thickness": 1.2, "width": 4, **ends}
    accuracy = {"color": PRUNED_MODEL, "width": 2}
    figure.add_scatter(
        y=_percents(top1),
        mode="lines+markers",
        name="accuracy right after",
        line=accuracy,
        error_y=whisker,
        row=2,
        col=1,
    )
    figure.update_yaxes(title_text="removed, %", range=[-4, 104], row=1, col=1)
    figure.update_yaxes(title_text="top-1 accuracy, %", row=2, col=1)
    figure.update_xaxes(dtick=1 if len(removed) <= MOST_TICKS else None, tickformat="d")
    figure.update_xaxes(title_text="moment", row=2, col=1)
    told = f"{percent(removed[-1])} removed and {percent(top1[-1])} right at the last of {len(removed) - 1} moments"
    return finish(figure, f"Cuts: {told}.", 400, "moments")


def _percents(shares: Sequence[float]) -> list[float]:
    return [100 * share for share in shares]


def fates(history: History, frame: int) -> np.ndarray:
    """What became of every weight up to a frame, O I H W: the place of its fate in `FATES`."""
    kept = history.mask(frame).numpy()
    back = history.returns(frame).numpy() > 0
    now = history.removed_at(frame).numpy() == frame
    return np.where(kept, np.where(back, 1, 0), np.where(now & (frame > 0), 3, 2)).astype(np.uint8)


def mask_over_time(history: History, frame: int) -> go.Figure:
    """The layer at that frame, weight by weight: kernels side by side, filters downwards; a colour
    for each weight's fate.
    """
    found = fates(history, frame)
    cells = folded(found)
    scale = [
        [edge, colour]
        for k, (_, colour) in enumerate(FATES)
        for edge in (k / len(FATES), (k + 1) / len(FATES))
    ]
    hover = (
        {"hovertemplate": "%{text}<extra></extra>"}
        if cells.places is not None
        else {"hoverinfo": "skip"}
    )
    look = {"zmin": -0.5, "zmax": len(FATES) - 0.5, "colorscale": scale, "showscale": False}
    figure = go.Figure(cells.heatmap(**look, **hover))
    counts = np.bincount(found.ravel(), minlength=len(FATES))
    for (name, colour), count in zip(FATES, counts, strict=True):
        mark = {"symbol": "square", "size": 11, "color": colour}
        figure.add_scatter(
            x=[None], y=[None], mode="markers", marker=mark, name=f"{name}: {count:,}"
        )
    height = cells.frame(figure)
    told = ", ".join(f"{count:,} {name}" for (name, _), count in zip(FATES, counts, strict=True))
    return finish(
        figure,
        f"{history.layer} at moment {frame} of {len(history) - 1}: {told}.",
        height,
        f"fates {history.layer}",
    )
