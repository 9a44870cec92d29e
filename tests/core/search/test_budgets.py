"""Every candidate respects its budget, counted on the network that its plan gives."""

from pathlib import Path

import pytest

from pruning_core import Plan, thin
from pruning_core.compress.storage_sizes import stored_share
from pruning_core.pipeline import choose_masks
from pruning_core.search import TOLERANCE, Candidate
from pruning_core.search.plan_costs import COUNTED
from pruning_core.search.plan_space import PlanSpace
from pruning_core.search.run import SearchSettings, search
from pruning_core.workspaces import open_workspace

CASES = (
    ("vit", "head", "bytes", 0.8),
    ("lenet5", "filter", "parameters", 0.4),
    ("lenet5", "channel", "macs", 0.5),
    ("lenet5", "fine", "bytes", 0.5),
    ("lenet5", "fine", "bytes", 0.1),
    ("lenet5", "kernel", "bytes", 0.92),
)


@pytest.mark.parametrize(("model", "granularity", "budget", "keep"), CASES)
def test_candidates_respect_their_budget(
    model: str, granularity: str, budget: str, keep: float, tmp_path: Path
) -> None:
    """Counted on the thinned network; of masks that narrow nothing, in the smallest format."""
    plan = Plan(model=model, granularity=granularity, probe=10, repair="none")
    space = open_workspace(model, "digits")
    settings = SearchSettings("random", budget, keep, evaluations=2, most=0.95, repair="none")
    own = PlanSpace(plan, space, budget=budget, keep=keep)
    for candidate in search(plan, space, settings, tmp_path):
        if not isinstance(candidate, Candidate):
            continue
        chosen = own.plan_with(candidate.ratios)
        masks = choose_masks(chosen, space)[1]
        if own.resolved.granularity.narrows:
            made = thin(chosen, space)
            counted = {"macs": made.macs, "parameters": made.parameters, "bytes": made.bytes}
            left = {name: after / before for name, (before, after) in counted.items()}
        else:
            left = {
                "bytes": stored_share(space.model, space.layers, masks, own.resolved.granularity)
            }
            assert candidate.costs["bytes"] == pytest.approx(left["bytes"], abs=1e-6)
        assert left[budget] <= keep + TOLERANCE
        assert candidate.cost == candidate.costs[budget] > keep - 0.15
        assert candidate.costs == pytest.approx(
            own.costing.of_masks(own.counts(candidate.ratios), tuple(COUNTED)), abs=1e-3
        )
