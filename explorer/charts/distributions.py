"""Histograms of weights."""

from collections.abc import Mapping
from itertools import cycle

import numpy as np
import plotly.graph_objects as go

from explorer.charts.palette import translucent
from explorer.charts.style import finish, state_label, state_look
from explorer.texts.formats import decimal_percent, listed
from explorer.texts.translate import _

DASHES = ("solid", "dash", "dot", "dashdot")


def weight_histograms(
    series: Mapping[str, np.ndarray], *, name: str = "", bins: int = 80
) -> go.Figure:
    """The weights of one layer in several states, as outlines over common bins.

    series: by state, "dense", "pruned", "tuned" ... Weights that are exactly 0, as pruning makes
    them, are left out of the outlines; the legend has their fraction.
    """
    values = {state: array[np.isfinite(array)].ravel() for state, array in series.items()}
    nonzero = {state: array[array != 0] for state, array in values.items()}
    edges = np.histogram_bin_edges(np.concatenate(list(nonzero.values())), bins=bins)
    figure = go.Figure()
    hover = _("up to {x}: {n} weights", x="%{x:.3g}", n="%{y}")
    for (state, array), dash in zip(nonzero.items(), cycle(DASHES), strict=False):
        colour = state_look(state)[0]
        zeros = 1 - array.size / max(1, values[state].size)
        label = state_label(state)
        figure.add_scatter(
            x=edges,
            y=np.append(0, np.histogram(array, edges)[0]),
            mode="lines",
            line={"color": colour, "width": 2, "shape": "vh", "dash": dash},
            fill="tozeroy",
            fillcolor=translucent(colour, 0.12),
            name=_("{state}, {share} zeros", state=label, share=decimal_percent(zeros)),
            hovertemplate=f"{label}<br>{hover}<extra></extra>",
        )
    figure.update_xaxes(title_text=_("weight, without zeros"))
    figure.update_yaxes(title_text=_("weights"))
    start = _("Weights of {layer}", layer=name) if name else _("Weights")
    states = listed(map(state_label, series))
    sentence = _("{weights}: {states}.", weights=start, states=states)
    return finish(figure, sentence, 320, f"weights {name}")
