"""The rounds of a flow with a goal: the value against what is removed."""

from collections.abc import Sequence

import plotly.graph_objects as go

from explorer.charts.kept import kept
from explorer.charts.palette import DENSE, KEPT, PRUNED_MODEL
from explorer.charts.style import budget, finish, interval_bars, level, limit
from explorer.texts.formats import axis_title, decimal_percent, scale, value_text
from explorer.texts.translate import _, from_core
from pruning_core.flows.goal import BUDGETS, COSTS
from pruning_core.types import Evaluation, GoalRound


@kept
def goal_chart(rounds: Sequence[GoalRound], dense: Evaluation) -> go.Figure:
    """The value after each round with its 95% interval, the goal, and the rounds that missed it.

    The horizontal axis is what is removed: of the first budget, else of the weights.
    rounds: at least one; dense: the dense network on the same images.
    """
    unit = scale(dense.task)
    figure = go.Figure()
    _add(figure, [end for end in rounds if end.good], unit, _("within the goal"), KEPT, "circle")
    missed = [end for end in rounds if not end.good]
    if missed:
        _add(figure, missed, unit, _("misses the goal"), PRUNED_MODEL, "x")
    level(figure, unit * dense.value, _("dense"), DENSE)
    least = rounds[-1].least
    if least is not None:
        limit(figure, unit * least, _("goal"))
    budgets = rounds[-1].budgets
    if budgets:
        budget(figure, 100 * (1 - next(iter(budgets.values()))))
    first = next(iter(budgets), None)
    what = _("pruned weights") if first is None else from_core(BUDGETS[first])
    text = (
        _("saved, % of the {cost}", cost=what)
        if first in COSTS
        else _("removed, % of the {cost}", cost=what)
    )
    figure.update_xaxes(title_text=text, range=[-2, 102])
    figure.update_yaxes(title_text=axis_title(dense.task))
    return finish(figure, _sentence(rounds), 320, "goal")


def removed(end: GoalRound) -> float:
    """What the round removes: of the first budget, else of the weights."""
    if end.budgets:
        return 1 - end.remaining[next(iter(end.budgets))]
    return end.report.sparsity_masked


def _add(
    figure: go.Figure,
    rounds: Sequence[GoalRound],
    unit: float,
    name: str,
    colour: str,
    symbol: str,
) -> None:
    share = _("{ratio} removed", ratio="%{x:.1f}%")
    figure.add_scatter(
        x=[100 * removed(end) for end in rounds],
        y=[unit * end.evaluation.value for end in rounds],
        mode="lines+markers" if symbol == "circle" else "markers",
        name=name,
        line={"color": colour, "width": 2},
        marker={"symbol": symbol, "size": 10, "color": colour},
        text=[_("round {n}", n=end.round) for end in rounds],
        hovertemplate=f"%{{text}}: %{{y:.4g}}, {share}<extra></extra>",
        error_y=interval_bars([end.evaluation for end in rounds], unit, color=colour),
    )


def _sentence(rounds: Sequence[GoalRound]) -> str:
    good = [end for end in rounds if end.good]
    task = rounds[0].evaluation.task
    n = len(rounds)
    missed = len(rounds) - len(good)
    if not good:
        return _("{n} rounds, {missed} of them miss the goal.", n=n, missed=missed)
    return _(
        "{n} rounds, {missed} of them miss the goal; the last good one removes {ratio} with "
        "{name} {value}.",
        n=n,
        missed=missed,
        ratio=decimal_percent(removed(good[-1])),
        name=from_core(task.short_label),
        value=value_text(good[-1].evaluation.value, task),
    )
