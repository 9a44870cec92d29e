"""Ratios that are measured together and corrected."""

import pytest

from pruning_core.allocation import total_ratio
from pruning_core.plan import Plan
from pruning_core.sensitivity.corrected import corrected
from pruning_core.sensitivity.scan import scan_plan
from pruning_core.workspaces import open_workspace


def test_the_last_has_the_lowest_joint_loss_and_meets_the_target() -> None:
    plan = Plan(model="lenet5", sparsity=0.8, probe=60)
    space = open_workspace("lenet5", "digits")
    points = tuple(scan_plan(plan, space, (0.5, 0.8, 0.95)))
    measured = list(corrected(plan, space, points))
    names = {joint.name for joint in measured}
    assert {"uniform", "global", "equal_accuracy", "least_loss"} <= names
    best = measured[-1]
    losses = [joint.evaluation.loss for joint in measured]
    uniform = next(joint for joint in measured if joint.name == "uniform")
    assert best.evaluation.loss == min(losses) < uniform.evaluation.loss
    layers = plan.resolve(space).layers
    for joint in measured:
        if joint.name == "corrected":
            assert total_ratio(layers, joint.ratios) == pytest.approx(0.8, abs=0.005)
