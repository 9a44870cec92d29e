"""The plan that the tests of exports use, and its network."""

import pytest

from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig
from pruning_core.workspaces import Workspace, open_workspace


@pytest.fixture(scope="session")
def plan() -> Plan:
    return Plan(
        model="lenet5",
        dataset="digits",
        sparsity=0.8,
        allocation="global",
        fine_tune=TrainConfig(epochs=1),
    )


@pytest.fixture(scope="module")
def space(plan: Plan) -> Workspace:
    return open_workspace(plan.model, plan.dataset)
