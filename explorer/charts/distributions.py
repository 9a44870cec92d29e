"""Histograms of group scores and of weights."""

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np
import plotly.graph_objects as go

from explorer.charts.palette import KEPT, PRUNED, PRUNED_PATTERN, THRESHOLD, translucent
from explorer.charts.style import finish, percent, state_label, state_look
from explorer.texts.formats import listed
from explorer.texts.translate import _

DASHES = ("solid", "dash", "dot", "dashdot")


def score_histogram(
    scores: np.ndarray,
    kept: np.ndarray,
    threshold: float | None = None,
    *,
    name: str = "",
    bins: int = 50,
) -> go.Figure:
    """Group scores, stacked: pruned groups grey and striped, kept groups blue.

    scores, kept: one number and one bool per group.
    threshold: the lowest kept score; None where groups are ranked in several scopes.
    Scores that are not finite are left out; the figure's sentence has their number.
    """
    scores = scores.ravel()
    kept = kept.ravel().astype(bool)
    finite = np.isfinite(scores)
    edges = np.histogram_bin_edges(scores[finite], bins=bins)
    figure = go.Figure()
    score = _("score {score}", score="%{x:.4g}")
    for label, hover, selected, marker in (
        (_("removed"), _("{n} groups removed"), ~kept, _marker(PRUNED, PRUNED_PATTERN)),
        (_("kept"), _("{n} groups kept"), kept, _marker(KEPT, "")),
    ):
        figure.add_bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=np.histogram(scores[finite & selected], edges)[0],
            width=np.diff(edges),
            name=f"{label} ({int(selected.sum()):,})",
            marker=marker,
            hovertemplate=f"{score}<br>{hover.format(n='%{y}')}<extra></extra>",
        )
    if threshold is not None and np.isfinite(threshold):
        line = {"color": THRESHOLD, "width": 2, "dash": "dash"}
        figure.add_vline(x=float(threshold), line=line)
    _set_score_axes(figure, int(np.histogram(scores[finite], edges)[0].max(initial=1)))
    return finish(figure, _score_sentence(kept, finite, name), 300, f"scores {name}")


def _marker(colour: str, pattern: str) -> dict[str, Any]:
    stripes = {"shape": pattern, "size": 5, "fgcolor": colour, "fillmode": "replace"}
    return {
        "color": colour,
        "pattern": stripes if pattern else {"shape": ""},
        "line_width": 0,
    }


def _set_score_axes(figure: go.Figure, highest: int) -> None:
    """highest: the number of groups in the highest bar."""
    figure.update_layout(barmode="stack", bargap=0)
    figure.update_xaxes(title_text=_("group score"), exponentformat="power")
    figure.update_yaxes(
        title_text=_("groups"), range=[0, 1.08 * highest], dtick=1 if highest < 6 else None
    )


def _score_sentence(kept: np.ndarray, finite: np.ndarray, name: str) -> str:
    start = _("Scores of {layer}", layer=name) if name else _("Scores")
    values = {
        "scores": start,
        "n": int(kept.sum()),
        "total": kept.size,
        "removed": int((~kept).sum()),
    }
    if finite.all():
        return _("{scores}: {n} of {total} groups kept, {removed} removed.", **values)
    return _(
        "{scores}: {n} of {total} groups kept, {removed} removed; {missing} without a finite "
        "score.",
        missing=int((~finite).sum()),
        **values,
    )


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
            name=_("{state}, {share} zeros", state=label, share=percent(zeros)),
            hovertemplate=f"{label}<br>{hover}<extra></extra>",
        )
    figure.update_xaxes(title_text=_("weight, without zeros"))
    figure.update_yaxes(title_text=_("weights"))
    start = _("Weights of {layer}", layer=name) if name else _("Weights")
    states = listed(map(state_label, series))
    sentence = _("{weights}: {states}.", weights=start, states=states)
    return finish(figure, sentence, 320, f"weights {name}")
