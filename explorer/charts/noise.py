"""SEVEN's noise factor: as a map, as a histogram, and what it does to the ranking."""

import numpy as np
import plotly.graph_objects as go

from explorer.charts.cells import folded
from explorer.charts.palette import BASELINE, KEPT, MAGNITUDE, scale, translucent
from explorer.charts.style import finish

BINS = 48


def noise_map(factor: np.ndarray, *, name: str = "") -> go.Figure:
    """The factor of every weight, kernels side by side, filters downwards; white: all noise, dark:
    steady. factor: O I H W.
    """
    cells = folded(factor)
    bar = {"title": {"text": "factor", "font_size": 13}, "thickness": 12}
    hover = (
        "%{text}: %{z:.2f}<extra></extra>"
        if cells.places is not None
        else "%{z:.2f}<extra></extra>"
    )
    figure = go.Figure(
        cells.heatmap(
            zmin=0, zmax=1, colorscale=scale(MAGNITUDE), colorbar=bar, hovertemplate=hover
        )
    )
    height = cells.frame(figure)
    return finish(
        figure, f"Noise factors of {name}: mean {factor.mean():.2f}.", height, f"noise map {name}"
    )


def noise_histogram(factor: np.ndarray, level: float | None = None, *, name: str = "") -> go.Figure:
    """How many weights have which factor; level: what a gradient of nothing but noise would have."""
    counts, edges = np.histogram(factor, bins=BINS, range=(0, max(1.0, float(factor.max()))))
    text = "factor %{x:.2f}<br>%{y} weights<extra></extra>"
    figure = go.Figure(
        go.Bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=counts,
            width=np.diff(edges),
            marker_color=KEPT,
            hovertemplate=text,
        )
    )
    if level is not None:
        line = {"color": BASELINE, "dash": "dash"}
        figure.add_vline(
            x=level,
            line=line,
            annotation_text=f"pure noise {level:.2f}",
            annotation_position="top left" if level > 0.5 else "top right",
        )
    figure.update_layout(bargap=0)
    figure.update_xaxes(title_text="noise factor")
    figure.update_yaxes(title_text="weights")
    low, high = np.percentile(factor, (10, 90))
    return finish(
        figure,
        f"Noise factors of {name}: eight in ten lie from {low:.2f} to {high:.2f}.",
        300,
        f"noise histogram {name}",
    )


def rank_moves(before: np.ndarray, after: np.ndarray, *, name: str = "") -> go.Figure:
    """Weights by the sum of |w g| (across) and by SEVEN (up), in %: the darker, the more; on the
    diagonal nothing moves.
    """
    counts, edges, _ = np.histogram2d(
        before.ravel(), after.ravel(), bins=BINS, range=((0, 1), (0, 1))
    )
    middle = 50 * (edges[:-1] + edges[1:])
    shades = [[0, translucent(KEPT, 0.25)], [1, KEPT]]
    figure = go.Figure(
        go.Heatmap(
            x=middle,
            y=middle,
            z=np.where(counts.T > 0, counts.T, np.nan),
            colorscale=shades,
            showscale=False,
            hovertemplate="sum |w g| %{x:.0f}%, SEVEN %{y:.0f}%: %{z} weights<extra></extra>",
        )
    )
    figure.add_scatter(
        x=[0, 100],
        y=[0, 100],
        mode="lines",
        line={"color": BASELINE, "dash": "dash"},
        showlegend=False,
        hoverinfo="skip",
    )
    figure.update_xaxes(title_text="place by the sum of |w g|, %", range=[0, 100])
    figure.update_yaxes(title_text="place by SEVEN, %", range=[0, 100])
    mean = float(np.abs(before - after).mean())
    return finish(
        figure,
        f"Ranks of {name}: a weight moves by {mean:.0%} of the ranking on average.",
        300,
        f"ranks {name}",
    )
