"""The value of a plan at the sparsities that a search measured."""

from collections.abc import Sequence

import plotly.graph_objects as go

from explorer.charts.palette import CHOSEN, DENSE, KEPT, PRUNED
from explorer.charts.style import finish, level
from explorer.texts.formats import axis_title, scale
from pruning_core.sensitivity.farthest import Tried


def farthest_chart(
    tried: Sequence[Tried], dense: float, limit: float, border: float | None
) -> go.Figure:
    """Value against sparsity with 95% intervals, the dense value, and the lowest value allowed.

    tried: by sparsity, at least one; limit: the worst value that is allowed; border: the largest
    sparsity within the limit, None where there is none.
    """
    task = tried[0].evaluation.task
    unit = scale(task)
    figure = go.Figure()
    for within in (True, False):
        _add_points(figure, [point for point in tried if point.within is within], within, unit)
    level(figure, unit * dense, "dense", DENSE)
    figure.add_hline(
        y=unit * limit,
        line={"color": CHOSEN, "width": 1.5, "dash": "dash"},
        annotation={"text": "limit", "font_color": CHOSEN, "yanchor": "top"},
        annotation_position="bottom left",
    )
    if border is not None:
        figure.add_vline(x=100 * border, line={"color": KEPT, "width": 1.5, "dash": "dot"})
    figure.update_xaxes(title_text="sparsity, %", range=[-2, 102])
    figure.update_yaxes(title_text=axis_title(task))
    reached = "no sparsity is" if border is None else f"up to {border:.0%} is"
    sentence = f"{len(tried)} measured sparsities: {reached} within the limit."
    return finish(figure, sentence, 300, "farthest")


def _add_points(figure: go.Figure, tried: Sequence[Tried], within: bool, unit: float) -> None:
    """The values of measured sparsities with their intervals."""
    values = [unit * point.evaluation.value for point in tried]
    ends = [point.evaluation.interval for point in tried]
    colour = KEPT if within else PRUNED
    figure.add_scatter(
        x=[100 * point.sparsity for point in tried],
        y=values,
        mode="markers",
        name="within the limit" if within else "loses too much",
        marker={"symbol": "circle" if within else "x", "size": 9, "color": colour},
        error_y={
            "array": [unit * end[1] - y for end, y in zip(ends, values, strict=True)],
            "arrayminus": [y - unit * end[0] for end, y in zip(ends, values, strict=True)],
            "thickness": 1.2,
            "color": colour,
        },
    )
