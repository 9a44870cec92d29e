"""Ratios that are measured together and corrected."""

import pytest
import torch
from torch import nn

from pruning_core import workspace
from pruning_core.allocation import total_ratio
from pruning_core.evaluation.accuracy import Judge
from pruning_core.model.kept_norms import KEPT
from pruning_core.pipeline import probe_split
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


def test_norms_over_kept_channels_are_measured_as_the_plan_says() -> None:
    torch.manual_seed(0)
    blocks = [(nn.Conv2d(i, 8, 3), nn.GroupNorm(2, 8), nn.ReLU()) for i in (1, 8)]
    model = nn.Sequential(*blocks[0], *blocks[1], nn.Flatten(), nn.Linear(128, 10)).eval()
    data = (torch.rand(60, 1, 8, 8), torch.arange(60) % 10)
    space = workspace(model, train=data, val=data, test=data)
    plan = Plan(
        space.name, space.dataset.name, granularity="filter", sparsity=0.3, norms=KEPT, probe=60
    )
    *_, best = corrected(plan, space, tuple(scan_plan(plan, space, (0.25, 0.5))))
    resolved = plan.resolve(space)
    network = resolved.pruned_copy(resolved.masks(resolved.scores(), best.ratios))
    again = Judge.of(space.dataset).evaluate(network, probe_split(plan, space))
    assert best.evaluation.loss == pytest.approx(again.loss, abs=1e-6)
