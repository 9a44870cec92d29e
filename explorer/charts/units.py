"""What single outputs of a layer say about one image, dense and pruned."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from explorer.charts.style import finish, patterned, state_look


def unit_bars(names: Sequence[str], dense: np.ndarray, pruned: np.ndarray) -> go.Figure:
    """Two bars per output, one below the other, in the order given. Raises ValueError when the
    lengths differ.
    """
    figure = go.Figure()
    for state, values in {"dense": dense, "pruned": pruned}.items():
        x = [value for _, value in zip(names, values, strict=True)]
        look = patterned(*state_look(state))
        hover = f"<b>%{{y}}</b>, {state}: %{{x:.4g}}<extra></extra>"
        figure.add_bar(
            x=x, y=list(names), orientation="h", marker=look, name=state, hovertemplate=hover
        )
    figure.update_layout(bargap=0.3, bargroupgap=0.05)
    figure.update_xaxes(title_text="output for this image", zeroline=True)
    figure.update_yaxes(
        type="category", autorange="reversed", showgrid=False, ticks="", showline=False
    )
    moved = np.abs(np.asarray(pruned) - np.asarray(dense))
    told = (
        f"{names[int(moved.argmax())]} moves most, by {moved.max():.3g}" if len(moved) else "none"
    )
    return finish(
        figure,
        f"Outputs of {len(names)} units, dense and pruned: {told}.",
        110 + 30 * len(names),
        "units",
    )
