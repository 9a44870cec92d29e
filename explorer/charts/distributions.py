"""Histograms: where the threshold cuts the group scores, and how pruning and tuning move the
weights.
"""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from explorer.charts.palette import KEPT, PRUNED, PRUNED_PATTERN, THRESHOLD, translucent
from explorer.charts.style import finish, percent, state_label, state_look


def score_histogram(
    scores: np.ndarray,
    kept: np.ndarray,
    threshold: float | None = None,
    *,
    name: str = "",
    bins: int = 50,
) -> go.Figure:
    """Group scores, pruned ones grey and striped, kept ones blue, stacked. scores, kept: one number
    and one bool per group.

    threshold: the lowest kept score, where one cut divides the groups; None where groups compete in
    several scopes. Scores that are not finite are left out and counted in the sentence.
    """
    scores = scores.ravel()
    kept = kept.ravel().astype(bool)
    finite = np.isfinite(scores)
    edges = np.histogram_bin_edges(scores[finite], bins=bins)
    middle = (edges[:-1] + edges[1:]) / 2
    width = np.diff(edges)
    figure = go.Figure()
    for what, where, colour, pattern in (
        ("pruned", ~kept, PRUNED, PRUNED_PATTERN),
        ("kept", kept, KEPT, ""),
    ):
        count = np.histogram(scores[finite & where], edges)[0]
        marker = {
            "color": colour,
            "pattern": {"shape": pattern, "size": 5, "fgcolor": colour, "fillmode": "replace"},
            "line_width": 0,
        }
        if not pattern:
            marker["pattern"] = {"shape": ""}
        text = f"score %{{x:.4g}}<br>%{{y}} groups {what}<extra></extra>"
        label = f"{what} ({int(where.sum()):,})"
        figure.add_bar(
            x=middle, y=count, width=width, name=label, marker=marker, hovertemplate=text
        )
    if threshold is not None and np.isfinite(threshold):
        line = {"color": THRESHOLD, "width": 2, "dash": "dash"}
        figure.add_vline(x=float(threshold), line=line)
    of = f" of {name}" if name else ""
    missing = f"; {int((~finite).sum())} without a finite score" if not finite.all() else ""
    sentence = f"Scores{of}: {int(kept.sum())} of {kept.size} groups kept, {int((~kept).sum())} pruned{missing}."
    figure.update_layout(barmode="stack", bargap=0)
    figure.update_xaxes(title_text="group score", exponentformat="power")
    tallest = int(np.histogram(scores[finite], edges)[0].max(initial=1))
    figure.update_yaxes(
        title_text="groups", range=[0, 1.08 * tallest], dtick=1 if tallest < 6 else None
    )
    return finish(figure, sentence, 300, f"scores {name}")


def weight_histograms(
    series: Mapping[str, np.ndarray], *, name: str = "", bins: int = 80
) -> go.Figure:
    """Weights of one layer in several states ("dense", "pruned", "tuned"...), overlaid on common
    bins, as outlines.

    Exact zeros, which pruning makes, are left out of the curves and told in the legend.
    """
    values = {state: array[np.isfinite(array)].ravel() for state, array in series.items()}
    nonzero = {state: array[array != 0] for state, array in values.items()}
    edges = np.histogram_bin_edges(np.concatenate(list(nonzero.values())), bins=bins)
    figure = go.Figure()
    for number, (state, array) in enumerate(nonzero.items()):
        colour, _ = state_look(state)
        zeros = 1 - array.size / max(1, values[state].size)
        outline = {
            "color": colour,
            "width": 2,
            "shape": "vh",
            "dash": ("solid", "dash", "dot", "dashdot")[number % 4],
        }
        count = np.histogram(array, edges)[0]
        figure.add_scatter(
            x=edges,
            y=np.append(0, count),
            mode="lines",
            line=outline,
            fill="tozeroy",
            fillcolor=translucent(colour, 0.12),
            name=f"{state_label(state)}, {percent(zeros)} zeros",
            hovertemplate=f"{state_label(state)}<br>up to %{{x:.3g}}: %{{y}} weights<extra></extra>",
        )
    figure.update_xaxes(title_text="weight, zeros left out")
    figure.update_yaxes(title_text="weights")
    of = f" of {name}" if name else ""
    return finish(
        figure, f"Weights{of} as {', '.join(map(state_label, series))}.", 320, f"weights {name}"
    )
