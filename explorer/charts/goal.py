"""The rounds of a flow with a goal: the value against what is removed."""

from collections.abc import Sequence

import plotly.graph_objects as go

from explorer.charts.palette import CHOSEN, DENSE, KEPT, PRUNED_MODEL
from explorer.charts.style import finish, level, percent, value_text
from explorer.texts.formats import axis_title, scale
from pruning_core.flows.goal import COUNTS
from pruning_core.types import Evaluation, GoalRound


def goal_chart(rounds: Sequence[GoalRound], dense: Evaluation) -> go.Figure:
    """The value after each round with its 95% interval, the goal, and the rounds that missed it.

    The horizontal axis is what is removed: of the first count with a budget, else of the weights.
    rounds: at least one; dense: the dense network on the same images.
    """
    unit = scale(dense.task)
    figure = go.Figure()
    _add(figure, [end for end in rounds if end.good], unit, "within the goal", KEPT, "circle")
    missed = [end for end in rounds if not end.good]
    if missed:
        _add(figure, missed, unit, "misses the goal", PRUNED_MODEL, "x")
    level(figure, unit * dense.value, "dense", DENSE)
    least = rounds[-1].least
    line = {"color": CHOSEN, "width": 1.5, "dash": "dash"}
    if least is not None:
        label = {"text": "goal", "font_color": CHOSEN, "yanchor": "top"}
        figure.add_hline(
            y=unit * least, line=line, annotation=label, annotation_position="bottom left"
        )
    budgets = rounds[-1].budgets
    if budgets:
        keep = next(iter(budgets.values()))
        label = {"text": "budget", "font_color": CHOSEN, "xanchor": "left"}
        figure.add_vline(
            x=100 * (1 - keep), line=line, annotation=label, annotation_position="top right"
        )
    what = COUNTS[next(iter(budgets))] if budgets else "pruned weights"
    figure.update_xaxes(title_text=f"removed, % of the {what}", range=[-2, 102])
    figure.update_yaxes(title_text=axis_title(dense.task))
    return finish(figure, _sentence(rounds), 320, "goal")


def removed(end: GoalRound) -> float:
    """What the round removes: of the first count with a budget, else of the weights."""
    if end.budgets:
        return 1 - end.report.remaining[next(iter(end.budgets))]
    return end.report.sparsity_masked


def _add(
    figure: go.Figure,
    rounds: Sequence[GoalRound],
    unit: float,
    name: str,
    colour: str,
    symbol: str,
) -> None:
    values = [unit * end.evaluation.value for end in rounds]
    ends = [end.evaluation.interval for end in rounds]
    figure.add_scatter(
        x=[100 * removed(end) for end in rounds],
        y=values,
        mode="lines+markers" if symbol == "circle" else "markers",
        name=name,
        line={"color": colour, "width": 2},
        marker={"symbol": symbol, "size": 10, "color": colour},
        text=[f"round {end.round}" for end in rounds],
        hovertemplate="%{text}: %{y:.4g}, %{x:.1f}% removed<extra></extra>",
        error_y={
            "array": [unit * high - y for (_, high), y in zip(ends, values, strict=True)],
            "arrayminus": [y - unit * low for (low, _), y in zip(ends, values, strict=True)],
            "thickness": 1,
            "color": colour,
        },
    )


def _sentence(rounds: Sequence[GoalRound]) -> str:
    good = [end for end in rounds if end.good]
    task = rounds[0].evaluation.task
    sentence = f"{len(rounds)} rounds, {len(rounds) - len(good)} of them miss the goal"
    if not good:
        return f"{sentence}."
    return (
        f"{sentence}; the last good one removes {percent(removed(good[-1]))} with "
        f"{task.short_label} {value_text(good[-1].evaluation.value, task)}."
    )
