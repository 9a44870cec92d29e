"""SEVEN's noise factor: as a map, as a histogram, and its effect on the ranking."""

import numpy as np
import plotly.graph_objects as go

from explorer.charts.cells import square_cells
from explorer.charts.palette import BASELINE, KEPT, MAGNITUDE, scale, translucent
from explorer.charts.style import finish
from explorer.texts.translate import _

BINS = 48


def noise_map(factor: np.ndarray, *, name: str = "") -> go.Figure:
    """The factor of every weight, O I H W: white is only noise, dark is a steady gradient.

    Kernels are side by side, filters downwards.
    """
    cells = square_cells(factor)
    label = "" if cells.labels is None else "%{text}: "
    figure = go.Figure(
        cells.heatmap(
            zmin=0,
            zmax=1,
            colorscale=scale(MAGNITUDE),
            colorbar={"title": {"text": _("factor"), "font_size": 13}, "thickness": 12},
            hovertemplate=f"{label}%{{z:.2f}}<extra></extra>",
        )
    )
    height = cells.frame(figure)
    sentence = _("Noise factors of {layer}: mean {mean}.", layer=name, mean=f"{factor.mean():.2f}")
    return finish(figure, sentence, height, f"noise map {name}")


def noise_histogram(factor: np.ndarray, level: float | None = None, *, name: str = "") -> go.Figure:
    """The number of weights with each factor. level: the factor of a gradient of only noise."""
    counts, edges = np.histogram(factor, bins=BINS, range=(0, max(1.0, float(factor.max()))))
    hover = _("factor {x}", x="%{x:.2f}") + "<br>" + _("{n} weights", n="%{y}")
    figure = go.Figure(
        go.Bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=counts,
            width=np.diff(edges),
            marker_color=KEPT,
            hovertemplate=f"{hover}<extra></extra>",
        )
    )
    if level is not None:
        figure.add_vline(
            x=level,
            line={"color": BASELINE, "dash": "dash"},
            annotation_text=_("only noise {x}", x=f"{level:.2f}"),
            annotation_position="top",
        )
    figure.update_layout(bargap=0)
    figure.update_xaxes(title_text=_("noise factor"))
    figure.update_yaxes(title_text=_("weights"))
    low, high = np.percentile(factor, (10, 90))
    sentence = _(
        "Noise factors of {layer}: 80% are between {low} and {high}.",
        layer=name,
        low=f"{low:.2f}",
        high=f"{high:.2f}",
    )
    return finish(figure, sentence, 300, f"noise histogram {name}")


def rank_moves(before: np.ndarray, after: np.ndarray, *, name: str = "") -> go.Figure:
    """Ranks of the weights, in %: by the sum of |w g| (x) and by SEVEN (y).

    A darker cell has more weights. On the diagonal both ranks are equal.
    """
    counts, edges, _y = np.histogram2d(
        before.ravel(), after.ravel(), bins=BINS, range=((0, 1), (0, 1))
    )
    centres = 50 * (edges[:-1] + edges[1:])
    hover = _(
        "sum |w g| {sum}, SEVEN {seven}: {n} weights", sum="%{x:.0f}%", seven="%{y:.0f}%", n="%{z}"
    )
    figure = go.Figure(
        go.Heatmap(
            x=centres,
            y=centres,
            z=np.where(counts.T > 0, counts.T, np.nan),
            colorscale=[[0, translucent(KEPT, 0.25)], [1, KEPT]],
            showscale=False,
            hovertemplate=f"{hover}<extra></extra>",
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
    figure.update_xaxes(title_text=_("rank by the sum of |w g|, %"), range=[0, 100])
    figure.update_yaxes(title_text=_("rank by SEVEN, %"), range=[0, 100])
    mean = float(np.abs(before - after).mean())
    sentence = _(
        "Ranks of {layer}: a weight moves by {share} of the ranking on average.",
        layer=name,
        share=f"{mean:.0%}",
    )
    return finish(figure, sentence, 300, f"ranks {name}")
