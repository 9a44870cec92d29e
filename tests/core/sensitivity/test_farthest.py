"""The largest sparsity within a limit, against a sweep over all sparsities."""

from dataclasses import replace

import pytest

from pruning_core.evaluation.accuracy import Judge
from pruning_core.pipeline import choose_masks, masked_copy, probe_split
from pruning_core.plan import Plan
from pruning_core.sensitivity.farthest import LOOK_AHEAD, Farthest, Tried, farthest
from pruning_core.tasks import change
from pruning_core.types import PruningError
from pruning_core.workspaces import Workspace, open_workspace

PLANS = (
    (Plan(model="lenet5", probe=60), 0.02, False),
    (Plan(model="lenet5", granularity="filter", allocation="global", probe=60), 0.05, False),
    (Plan(model="lenet_300_100", allocation="global", probe=60), 0.1, True),
)


@pytest.fixture(scope="module")
def spaces() -> dict[str, Workspace]:
    return {name: open_workspace(name, "digits") for name in ("lenet5", "lenet_300_100")}


@pytest.mark.parametrize(("plan", "lose", "sure"), PLANS)
def test_the_border_is_where_a_sweep_has_one(
    plan: Plan, lose: float, sure: bool, spaces: dict[str, Workspace]
) -> None:
    space = spaces[plan.model]
    *tried, found = farthest(plan, space, lose, sure=sure)
    assert isinstance(found, Farthest)
    assert found.best is not None
    within = {step: within_limit(plan, space, step / 100, lose, sure) for step in range(101)}
    border = round(100 * found.plan.sparsity)
    assert all(isinstance(event, Tried) for event in tried)
    assert {round(100 * t.sparsity): t.within for t in found.tried}.items() <= within.items()
    assert within[border]
    assert not any(within[step] for step in range(border + 1, border + 2 + LOOK_AHEAD))
    assert len(found.tried) == len(tried) <= 25


def within_limit(plan: Plan, space: Workspace, sparsity: float, lose: float, sure: bool) -> bool:
    """Is a plain evaluation of the plan at that sparsity within the limit?"""
    changed = replace(plan, sparsity=sparsity)
    judge = Judge.of(space.dataset)
    split = probe_split(changed, space)
    network = masked_copy(changed, space, choose_masks(changed, space)[1])
    measured = change(judge.evaluate(space.model, split), judge.evaluate(network, split))
    return -(measured.interval[0] if sure else measured.value) <= lose + 1e-12


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
