"""The chart of a flow with a goal."""

import pytest

from explorer.charts import alt
from explorer.charts.goal import goal_chart
from pruning_core.types import GoalRound, Report
from tests.explorer.charts.example_data import evaluation


def ended(number: int, right: int, sparsity: float, **budgets: float) -> GoalRound:
    report = Report(100, round(100 * (1 - sparsity)), 100, 100, 400, sparsity, sparsity)
    return GoalRound(number, 3, evaluation(right / 100), 0.85, report, budgets)


def test_the_missed_round_and_the_goal_are_marked() -> None:
    dense = evaluation(0.9)
    figure = goal_chart([ended(1, 89, 0.3), ended(2, 80, 0.6)], dense)
    good, missed = figure.data
    assert (tuple(good.x), tuple(missed.x), missed.marker.symbol) == ((30,), (60,), "x")
    assert {shape.y0 for shape in figure.layout.shapes} == {85.0, 90.0}
    assert alt(figure) == (
        "2 rounds, 1 of them miss the goal; the last good one removes 30.0% with top-1 89.0%."
    )


def test_a_budget_is_a_line_over_the_count_that_it_limits() -> None:
    figure = goal_chart([ended(1, 89, 0.3, parameters=0.5)], evaluation(0.9))
    assert figure.layout.xaxis.title.text == "removed, % of the parameters"
    assert 50.0 in {shape.x0 for shape in figure.layout.shapes}
    assert tuple(figure.data[0].x) == (pytest.approx(30),)
