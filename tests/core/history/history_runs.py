"""Runs for the tests of the history, made without a network."""

from dataclasses import replace
from typing import Any

from pruning_core.history import Run, Value
from pruning_core.history.run import TEST
from pruning_core.plan import Plan
from pruning_core.types import Report

PLAN = Plan(model="lenet5", granularity="filter", sparsity=0.5)
REPORT = Report(1000, 500, 8000, 4000, 4000, 0.5, 0.5, {"conv1.weight": 0.5}, 450, 3600)


def example(**changes: Any) -> Run:
    """A finished fine-tune with two values."""
    values = {
        "dense": Value(0.9, 0.88, 0.92, 359, 0.3, TEST),
        "tuned": Value(0.85, 0.82, 0.88, 359, 0.4, TEST),
    }
    run = Run("tune", PLAN.to_json(), "f" * 64, values=values, report=REPORT, seconds=2.5)
    return replace(run, **changes)
