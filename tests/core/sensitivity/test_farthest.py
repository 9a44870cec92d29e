"""The largest sparsity within a limit, against a sweep over all sparsities."""

from dataclasses import replace
from functools import cache

import pytest

from pruning_core.evaluation.accuracy import Judge
from pruning_core.pipeline import group_scores_of, masked_copy, probe_split
from pruning_core.plan import Plan
from pruning_core.sensitivity.farthest import (
    COARSE,
    LOOK_AHEAD,
    Farthest,
    MasksAtSparsities,
    Tried,
    curve,
    farthest,
)
from pruning_core.tasks import Change, change
from pruning_core.types import Evaluation, GroupScores, Masks, PruningError
from pruning_core.workspaces import Workspace, open_workspace

PLANS = (
    (Plan(model="lenet5", probe=60), 0.02, False),
    (Plan(model="lenet5", granularity="filter", allocation="global", probe=60), 0.05, False),
    (Plan(model="lenet_300_100", allocation="global", probe=60), 0.1, True),
    (Plan(model="lenet5", probe=60), 0.01, False),
    (Plan(model="lenet5", granularity="filter", allocation="global", probe=60), 0.3, True),
)
"""In the last two, sparsities above the first one that loses too much are within the limit."""


@pytest.fixture(scope="module")
def spaces() -> dict[str, Workspace]:
    return {name: open_workspace(name, "digits") for name in ("lenet5", "lenet_300_100")}


@pytest.mark.parametrize(("plan", "lose", "sure"), PLANS)
def test_the_result_is_the_largest_of_a_sweep(
    plan: Plan, lose: float, sure: bool, spaces: dict[str, Workspace]
) -> None:
    border, within = border_and_sweep(plan, spaces[plan.model], lose, sure)
    assert border == max(step for step in within if within[step])


def test_a_single_sparsity_far_above_the_result_may_be_missed(
    spaces: dict[str, Workspace],
) -> None:
    border, within = border_and_sweep(Plan(model="lenet5", probe=60), spaces["lenet5"], 0.3, False)
    missed = [step for step in range(border + 1, 101) if within[step]]
    assert missed == [77]
    assert not any(within[step] for step in range(border + 1, border + 1 + LOOK_AHEAD))
    assert border >= max(step for step in range(0, 101, COARSE) if within[step])


def border_and_sweep(
    plan: Plan, space: Workspace, lose: float, sure: bool
) -> tuple[int, dict[int, bool]]:
    """The search's result in percent, and for each percent: is it within the limit?"""
    *tried, found = farthest(plan, space, lose, sure=sure)
    assert isinstance(found, Farthest)
    assert found.best is not None
    within = {step: within_limit(plan, space, step / 100, lose, sure) for step in range(101)}
    assert all(isinstance(event, Tried) for event in tried)
    assert {round(100 * t.sparsity): t.within for t in found.tried}.items() <= within.items()
    assert len(found.tried) == len(tried) <= 25
    return round(100 * found.plan.sparsity), within


def within_limit(plan: Plan, space: Workspace, sparsity: float, lose: float, sure: bool) -> bool:
    """Is a plain evaluation of the plan at that sparsity within the limit?"""
    measured = measured_change(replace(plan, sparsity=sparsity), space)
    return -(measured.interval[0] if sure else measured.value) <= lose + 1e-12


@cache
def measured_change(plan: Plan, space: Workspace) -> Change:
    """The sweeps of several limits use the same measurements."""
    groups, dense = at_every_sparsity(replace(plan, sparsity=0.5), space)
    masks = plan.resolve(space).choose(groups, 1.0)[1]
    network = masked_copy(plan, space, masks)
    return change(dense, Judge.of(space.dataset).evaluate(network, probe_split(plan, space)))


@cache
def at_every_sparsity(plan: Plan, space: Workspace) -> tuple[GroupScores, Evaluation]:
    """The scores, and the dense network measured."""
    split = probe_split(plan, space)
    return group_scores_of(plan, space)[1], Judge.of(space.dataset).evaluate(space.model, split)


def test_points_of_the_curve_are_not_measured_again(
    spaces: dict[str, Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, lose, sure = PLANS[0]
    space = spaces[plan.model]
    *_, found = farthest(plan, space, lose, sure=sure)
    points = tuple(curve(plan, space))
    measured: list[int] = []
    at = MasksAtSparsities.at

    def counted(masks: MasksAtSparsities, step: int) -> Masks:
        measured.append(step)
        return at(masks, step)

    monkeypatch.setattr(MasksAtSparsities, "at", counted)
    *_, again = farthest(plan, space, lose, sure=sure, known=points)
    assert isinstance(found, Farthest)
    assert isinstance(again, Farthest)
    assert again.plan == found.plan
    first, second = (
        [(t.sparsity, t.evaluation.value, t.evaluation.loss, t.within) for t in result.tried]
        for result in (found, again)
    )
    assert first == second
    curved = {round(100 * point.sparsity) for point in points}
    assert set(measured) == {round(100 * t.sparsity) for t in found.tried} - curved


def test_no_limit_removes_everything_and_an_impossible_one_nothing(
    spaces: dict[str, Workspace],
) -> None:
    plan = Plan(model="lenet5", allow_collapse=True, probe=20)
    *_, all_removed = farthest(plan, spaces["lenet5"], 1.0)
    *_, none_removed = farthest(plan, spaces["lenet5"], 0.0, sure=True)
    assert isinstance(all_removed, Farthest)
    assert isinstance(none_removed, Farthest)
    assert all_removed.plan.sparsity == 1
    assert none_removed.plan.sparsity == 0
    assert none_removed.best is None


def test_plans_whose_sparsity_has_no_effect_are_refused(spaces: dict[str, Workspace]) -> None:
    for plan, lose, sentence in (
        (Plan(model="lenet5", granularity="2:4"), 0.1, "sets the sparsity of every layer"),
        (Plan(model="lenet5"), -1.0, "at least 0"),
    ):
        with pytest.raises(PruningError, match=sentence):
            next(farthest(plan, spaces["lenet5"], lose))
