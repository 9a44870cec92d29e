"""Flows that prune until the goal is met: what they keep, what they give up, what they report."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch

from pruning_core.compress.goal_costs import COSTS, bytes_left
from pruning_core.evaluation.accuracy import Judge
from pruning_core.export import report_dict
from pruning_core.flows import Share, flow, spec
from pruning_core.flows.goal import TIMED_BISECTIONS, ending_words, round_words
from pruning_core.pipeline import counts, probe_split, prune
from pruning_core.plan import Plan
from pruning_core.training.fine_tune import fine_tune
from pruning_core.types import Finished, GoalRound, Masks, Pruned, PruningError, Tuned
from pruning_core.workspaces import Workspace
from tests.core.events import last_of, of_kind
from tests.core.flows.test_oracles import CONFIG, CPU, planned
from tests.core.quarters import quarters
from tests.core.toy import refusal

TWICE = replace(CONFIG, epochs=2)
UP_TO_ALL = {"sparsity": 0.99, "schedule": "iterative:5"}


@cache
def trained() -> Workspace:
    """The network after four epochs: it is right on every image."""
    here = quarters()
    tuned = last_of(Tuned, fine_tune(here.model, {}, here.layers, here.dataset, CONFIG4, CPU))
    assert tuned.evaluation.value == 1
    return replace(here, model=tuned.model)


CONFIG4 = replace(CONFIG, epochs=4)


def events_of(text: str, **more: Any) -> tuple[Plan, list[object]]:
    plan = planned(text, TWICE, **more)
    return plan, list(prune(plan, trained(), CPU, COSTS))


@pytest.mark.parametrize("text", ["rounds:lose=0.05", "gradual:lose=0.05"])
def test_the_last_good_round_is_the_result_and_the_failed_one_is_reported(text: str) -> None:
    plan, events = events_of(text, **UP_TO_ALL)
    done = last_of(Finished, events)
    assert [end.good for end in done.goal] == [True] * 4 + [False] + [True] * (len(done.goal) - 5)
    assert done.goal == tuple(of_kind(GoalRound, events))
    missed = done.goal[4]
    assert missed.least == pytest.approx(0.95)
    assert missed.evaluation.value < 0.95
    good = [pruned for pruned in of_kind(Pruned, events) if pruned.round == 4]
    for name, mask in done.masks.items():
        assert torch.equal(mask, good[0].masks[name])
    probe = probe_split(plan, trained())
    assert Judge.of(trained().dataset).evaluate(done.model, probe).value >= 0.95
    assert ending_words(done.goal).startswith("Round 5 missed the goal: top-1 0.")
    assert ending_words(done.goal).endswith("the goal is at least 0.9500. The result is round 4.")
    assert round_words(missed).endswith("on 80 probe images, misses the goal")
    written = report_dict(plan, done)["goal"]
    assert isinstance(written, list)
    assert [row["good"] for row in written] == [end.good for end in done.goal]


@pytest.mark.parametrize(
    ("text", "count", "granularity"),
    [
        ("rounds:macs=0.5", "macs", "filter"),
        ("rounds:parameters=0.3,lose=1", "parameters", "fine"),
        ("gradual:macs=0.6", "macs", "fine"),
        ("rounds:bytes=0.5,macs=0.9", "bytes", "fine"),
    ],
)
def test_the_last_round_removes_what_the_budget_asks_for(
    text: str, count: str, granularity: str
) -> None:
    plan, events = events_of(text, granularity=granularity, **UP_TO_ALL)
    done = last_of(Finished, events)
    keep = done.goal[-1].budgets[count]
    left = done.goal[-1].remaining[count]
    counted = counts(plan, trained(), done.masks, done.model).remaining
    assert left == counted.get(count, bytes_left(plan, trained(), done.masks).left)
    one_group = 1 / 8 if granularity == "filter" else 0.005
    assert keep - one_group < left <= keep
    assert [end.reached for end in done.goal] == [False] * (len(done.goal) - 1) + [True]
    assert len(done.goal) < 5
    assert "met the budget" in ending_words(done.goal)


def test_a_budget_of_time_is_measured_on_the_narrower_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The clock is replaced: a network takes as long as it has channels, and a little noise."""
    asked: list[float] = []

    def time_left(_plan: Plan, _space: Workspace, masks: Masks) -> Share:
        asked.append(float(masks["0.weight"].float().mean()))
        return Share(asked[-1] + 0.001 * len(asked), "Too busy to tell.")

    monkeypatch.setitem(COSTS, "time", time_left)
    _, events = events_of("rounds:time=0.6", granularity="filter", **UP_TO_ALL)
    done = last_of(Finished, events)
    last = done.goal[-1]
    assert last.reached
    assert done.masks["0.weight"].float().mean() == 0.5
    assert last.remaining["time"] <= 0.6
    assert ending_words(done.goal).endswith("% remain). Too busy to tell.")
    assert len(asked) <= 2 * len(done.goal) + TIMED_BISECTIONS


def test_budgets_that_nothing_measures_are_refused() -> None:
    def refused(text: str, **more: Any) -> str:
        return refusal(lambda: list(prune(planned(text, CONFIG), trained(), CPU, **more)))

    assert "removes no whole channels" in refused("rounds:time=0.5", costs=COSTS)
    assert "limits the stored bytes, which is not measured here" in refused("rounds:bytes=0.5")


def test_a_goal_that_every_round_keeps_says_how_to_go_on() -> None:
    _, events = events_of("rounds:lose=0.5,macs=0.1", sparsity=0.2, schedule="iterative:2")
    done = last_of(Finished, events)
    assert len(done.goal) == 2
    assert "kept the goal, but not the budget of 10.0% of the MACs" in ending_words(done.goal)
    assert ending_words(()) == ""


@pytest.mark.parametrize("name", ["rounds", "gradual"])
def test_a_first_round_that_misses_the_goal_is_an_error(name: str) -> None:
    plan = planned(f"{name}:lose=0.001", TWICE, sparsity=1.0, schedule="iterative:1")
    events = prune(plan, trained(), CPU)
    measured = next(event for event in events if isinstance(event, GoalRound))
    assert not measured.good
    with pytest.raises(PruningError, match="Round 1 of 1 already misses the goal: top-1"):
        next(events)


def test_a_flow_without_a_goal_has_no_goal_rounds_and_the_same_text() -> None:
    assert spec("rounds", flow("rounds:lose=-1,macs=1")) == "rounds"
    assert spec("gradual", flow("gradual:end=0.5,lose=0.02")) == "gradual:lose=0.02,end=0.5"
    _, events = events_of("rounds", sparsity=0.5)
    assert not of_kind(GoalRound, events)
    assert last_of(Finished, events).goal == ()
