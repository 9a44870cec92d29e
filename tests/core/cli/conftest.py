"""A plan on disk for the tests of commands."""

from pathlib import Path

import pytest

from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig


@pytest.fixture(scope="session")
def plan() -> Plan:
    return Plan(model="lenet5", dataset="digits", sparsity=0.8, fine_tune=TrainConfig(epochs=1))


@pytest.fixture
def plan_file(plan: Plan, tmp_path: Path) -> Path:
    path = tmp_path / "plan.json"
    path.write_text(plan.to_json())
    return path
