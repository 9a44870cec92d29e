"""Bars of single outputs of a layer for one image, dense and pruned."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from explorer.charts.style import finish, patterned, state_label, state_look
from explorer.texts.translate import _


def unit_bars(names: Sequence[str], dense: np.ndarray, pruned: np.ndarray) -> go.Figure:
    """Two horizontal bars per output, in the given order.

    Raises ValueError when the lengths differ.
    """
    figure = go.Figure()
    for state, values in {"dense": dense, "pruned": pruned}.items():
        figure.add_bar(
            x=[value for _, value in zip(names, values, strict=True)],
            y=list(names),
            orientation="h",
            marker=patterned(*state_look(state)),
            name=state_label(state),
            hovertemplate=f"<b>%{{y}}</b>, {state_label(state)}: %{{x:.4g}}<extra></extra>",
        )
    figure.update_layout(bargap=0.3, bargroupgap=0.05)
    figure.update_xaxes(title_text=_("output for this image"), zeroline=True)
    figure.update_yaxes(
        type="category", autorange="reversed", showgrid=False, ticks="", showline=False
    )
    change = np.abs(np.asarray(pruned) - np.asarray(dense))
    largest = (
        _(
            "{unit} changes most, by {change}",
            unit=names[int(change.argmax())],
            change=f"{change.max():.3g}",
        )
        if len(change)
        else _("none")
    )
    sentence = _(
        "Outputs of {n} units, dense and pruned: {largest}.", n=len(names), largest=largest
    )
    return finish(figure, sentence, 110 + 30 * len(names), "units")
