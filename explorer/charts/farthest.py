"""The value of a plan against its sparsity, as pruned and repaired."""

from collections.abc import Sequence

import plotly.graph_objects as go

from explorer.charts.kept import kept
from explorer.charts.palette import CHOSEN, DENSE, KEPT, PRUNED, PRUNED_MODEL, RECALIBRATED, TUNED
from explorer.charts.style import finish, interval_bars, level, limit
from explorer.texts.formats import axis_title, scale
from explorer.texts.translate import _, from_core
from pruning_core.repairs import BN, NONE, REPAIRS
from pruning_core.sensitivity.farthest import CurvePoint, Farthest, Tried

COLOURS = {NONE: PRUNED_MODEL, BN: RECALIBRATED}
"""The others change weights or biases, as training does."""


@kept
def farthest_chart(
    points: Sequence[CurvePoint],
    farthest: Farthest | None,
    dense: float,
    worst: float,
    own: tuple[float, float],
) -> go.Figure:
    """Value against sparsity with 95% intervals, the dense value, and the lowest value allowed.

    points: of the curve, at least one; found: the search, drawn over it; worst: the worst value
    that is allowed; own: sparsity and value of the plan.
    """
    task = points[0].evaluation.task
    unit = scale(task)
    figure = go.Figure()
    for repair in dict.fromkeys(point.repair for point in points):
        colour = COLOURS.get(repair, TUNED)
        curve = sorted(
            (point for point in points if point.repair == repair), key=lambda p: p.sparsity
        )
        dash = "solid" if repair == NONE else "dot"
        name = _repair_name(repair)
        _add(figure, curve, unit, name, colour, "circle", mode="lines+markers", dash=dash)
    if farthest is not None:
        for within in (True, False):
            part = [tried for tried in farthest.tried if tried.within is within]
            name = _("within the limit") if within else _("loses too much")
            symbol = "circle" if within else "x"
            _add(figure, part, unit, name, KEPT if within else PRUNED, symbol)
    figure.add_scatter(
        x=[100 * own[0]],
        y=[unit * own[1]],
        mode="markers",
        name=_("this plan"),
        marker={"symbol": "star", "size": 15, "color": CHOSEN},
    )
    _lines(figure, unit * dense, unit * worst, farthest)
    figure.update_xaxes(title_text=_("sparsity, %"), range=[-2, 102])
    figure.update_yaxes(title_text=axis_title(task))
    return finish(figure, _sentence(points, farthest), 340, "farthest")


def _repair_name(repair: str) -> str:
    if repair == NONE:
        return _("as pruned")
    return _("repaired: {repair}", repair=from_core(REPAIRS[repair].label).lower())


def _lines(figure: go.Figure, dense: float, worst: float, farthest: Farthest | None) -> None:
    """The dense value, the limit, and the largest sparsity within it."""
    level(figure, dense, _("dense"), DENSE)
    limit(figure, worst, _("limit"))
    if farthest is not None and farthest.best is not None:
        border = 100 * farthest.plan.sparsity
        figure.add_vline(x=border, line={"color": KEPT, "width": 1.5, "dash": "dot"})


def _sentence(points: Sequence[CurvePoint], farthest: Farthest | None) -> str:
    n = len({point.sparsity for point in points})
    if farthest is None:
        return _("The whole plan measured at {n} sparsities.", n=n)
    if farthest.best is None:
        return _(
            "The whole plan measured at {n} sparsities and {more} for the limit: no sparsity is "
            "within the limit.",
            n=n,
            more=len(farthest.tried),
        )
    return _(
        "The whole plan measured at {n} sparsities and {more} for the limit: up to {sparsity} is "
        "within the limit.",
        n=n,
        more=len(farthest.tried),
        sparsity=f"{farthest.plan.sparsity:.0%}",
    )


def _add(
    figure: go.Figure,
    points: Sequence[CurvePoint | Tried],
    unit: float,
    name: str,
    colour: str,
    symbol: str,
    mode: str = "markers",
    dash: str = "solid",
) -> None:
    """Measured sparsities with their intervals."""
    figure.add_scatter(
        x=[100 * point.sparsity for point in points],
        y=[unit * point.evaluation.value for point in points],
        mode=mode,
        name=name,
        line={"color": colour, "width": 2, "dash": dash},
        marker={"symbol": symbol, "size": 8, "color": colour},
        error_y=interval_bars([point.evaluation for point in points], unit, color=colour),
    )
