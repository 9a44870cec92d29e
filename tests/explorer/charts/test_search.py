"""The charts of a search."""

from explorer.charts import alt
from explorer.charts.search import (
    best_so_far_chart,
    candidates_chart,
    extra_chart,
    pareto_front,
    ratio_bars,
)
from pruning_core.search import Candidate, Judged
from pruning_core.tasks import CLASSIFICATION
from tests.explorer.charts.example_data import trace


def candidate(number: int, value: float, macs: float, *, best: bool = False) -> Candidate:
    ratios = {"a": 0.25, "b": 0.75}
    extra = {"reward": value - 1}
    costs = {"macs": macs, "parameters": macs}
    return Candidate(number, ratios, Judged(value, value), macs, costs, "drawn", best, extra)


CANDIDATES = (
    candidate(1, 0.6, 0.5, best=True),
    candidate(2, 0.5, 0.5),
    candidate(3, 0.7, 0.6, best=True),
    candidate(4, 0.4, 0.3),
)
SEARCHES = {"Drawn": CANDIDATES}


def test_the_best_value_rises_only_where_a_candidate_is_better() -> None:
    figure = best_so_far_chart(SEARCHES, {"uniform": 0.45}, 0.9, CLASSIFICATION)
    drawn = trace(figure, "Drawn")
    assert (tuple(drawn.x), tuple(drawn.y)) == ((1, 3, 4), (60, 70, 70))
    assert set(trace(figure, "uniform").y) == {45}
    assert figure.layout.xaxis.dtick == 1, "evaluations are whole numbers"
    assert alt(figure) == "Best top-1 of 1 searches: Drawn 70.0% after 4, uniform 45.0%."


def test_the_front_has_the_candidates_that_no_other_one_beats() -> None:
    assert [c.number for c in pareto_front(CANDIDATES, "macs")] == [4, 1, 3]
    figure = candidates_chart(
        SEARCHES, {"uniform": CANDIDATES[1]}, ("macs", "MACs"), 0.5, CANDIDATES[2], CLASSIFICATION
    )
    drawn = trace(figure, "Drawn")
    assert [list(data) for data in drawn.customdata][2] == [0, 3, "drawn"]
    assert tuple(trace(figure, "shown below").y) == (70,)
    assert [shape.x0 for shape in figure.layout.shapes] == [50]


def test_rewards_and_ratios_are_drawn() -> None:
    (reward,) = extra_chart(SEARCHES, "reward").data
    assert tuple(reward.x) == (1, 2, 3, 4)
    figure = ratio_bars({"a": 0.25, "b": 0.75}, {"uniform": {"a": 0.5, "b": 0.5}})
    assert tuple(figure.data[0].x) == (25, 75)
    assert alt(figure) == "Ratios of 2 parts: the highest is b, 75.0%."


def test_the_legend_of_many_searches_takes_no_height_from_the_plots() -> None:
    baselines = {"uniform": CANDIDATES[1]}
    plots = set()
    rooms = []
    for count in (1, 2, 6):
        searches = {f"EagleEye (draws={n}), seed 0": CANDIDATES for n in range(count)}
        best = best_so_far_chart(searches, {"uniform": 0.45}, 0.9, CLASSIFICATION)
        every = candidates_chart(
            searches, baselines, ("macs", "MACs"), 0.5, CANDIDATES[2], CLASSIFICATION
        )
        assert best.layout.margin.t == every.layout.margin.t
        plots |= {figure.layout.height - figure.layout.margin.t for figure in (best, every)}
        rooms.append(best.layout.margin.t)
    assert plots == {324}
    assert rooms == [100, 120, 200]
