"""Masks over time: how much is removed when, and which weights went and came back."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from explorer.charts.style import finish, percent
from explorer.palette import CHOSEN, KEPT, KEPT_CELL, PRUNED_CELL, PRUNED_MODEL, TUNED
from explorer.tiles import flat
from pruning_core.flows import History

FATES = (("kept", KEPT_CELL), ("came back", TUNED), ("removed", PRUNED_CELL), ("removed just now", PRUNED_MODEL))
MOST_CELLS = 400_000


def removed_over_time(
    epochs: Sequence[float], overall: Sequence[float], layer: Sequence[float] | None = None, name: str = ""
) -> go.Figure:
    """The share of the weights that is removed, in % over epochs of training, of all layers that are cut and of one layer."""
    figure = go.Figure()
    look = {"shape": "hv", "width": 2.5}
    figure.add_scatter(
        x=list(epochs), y=[100 * share for share in overall], mode="lines+markers", name="all layers", line=look | {"color": KEPT}
    )
    if layer is not None:
        line = look | {"color": CHOSEN, "dash": "dash"}
        figure.add_scatter(x=list(epochs), y=[100 * share for share in layer], mode="lines+markers", name=name, line=line)
    figure.update_xaxes(title_text="epoch")
    figure.update_yaxes(title_text="removed, %", range=[-2, 102])
    told = f"{percent(overall[-1])} at the end" if overall else "nothing cut yet"
    return finish(figure, f"Removed weights over time: {told}.", 300, "removed over time")


def fates(history: History, frame: int) -> np.ndarray:
    """What became of every weight up to a frame, O I H W: the place of its fate in `FATES`."""
    kept, back = history.mask(frame).numpy(), history.returns(frame).numpy() > 0
    now = history.died(frame).numpy() == frame
    return np.where(kept, np.where(back, 1, 0), np.where(now & (frame > 0), 3, 2)).astype(np.uint8)


def mask_over_time(history: History, frame: int) -> go.Figure:
    """The layer at that frame, weight by weight: kernels side by side, filters downwards; a colour for each weight's fate.

    A layer of more than `MOST_CELLS` weights is shown by its first filters.
    """
    found = fates(history, frame)
    rows = max(1, MOST_CELLS // max(1, found[0].size))
    cells = flat(found[:rows])
    scale = [[edge, colour] for k, (_, colour) in enumerate(FATES) for edge in (k / len(FATES), (k + 1) / len(FATES))]
    names = np.array([name for name, _ in FATES])
    figure = go.Figure(
        go.Heatmap(
            z=cells, zmin=-0.5, zmax=len(FATES) - 0.5, colorscale=scale, showscale=False, text=names[cells] if cells.size < 40_000
            else None, hovertemplate="row %{y}, column %{x}: %{text}<extra></extra>" if cells.size < 40_000 else None,
        )
    )  # fmt: skip
    counts = np.bincount(found.ravel(), minlength=len(FATES))
    for (name, colour), count in zip(FATES, counts, strict=True):
        mark = {"symbol": "square", "size": 11, "color": colour}
        figure.add_scatter(x=[None], y=[None], mode="markers", marker=mark, name=f"{name}: {count:,}")
    figure.update_xaxes(visible=False, constrain="domain")
    figure.update_yaxes(visible=False, autorange="reversed")
    told = ", ".join(f"{count:,} {name}" for (name, _), count in zip(FATES, counts, strict=True))
    height = min(640, max(200, 60 + round(900 * cells.shape[0] / max(cells.shape[1], 1))))
    return finish(figure, f"{history.layer} at moment {frame} of {len(history) - 1}: {told}.", height, f"fates {history.layer}")
