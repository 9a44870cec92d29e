"""Runs for the tests of the history, made without a network."""

from dataclasses import replace
from typing import Any

from pruning_core.history import Run, Value
from pruning_core.history.run import TEST
from pruning_core.plan import Plan

PLAN = Plan(model="lenet5", granularity="filter", sparsity=0.5)
COUNTS = {"parameters": 1000, "nonzeros": 500, "macs": 8000, "macs_effective": 4000}
STORED = {"dense": 4000, "bitmap": 2100}
KEPT = {"conv1.weight": 0.5}


def example(**changes: Any) -> Run:
    """A finished fine-tune with two values."""
    values = {
        "dense": Value(0.9, 0.88, 0.92, 359, 0.3, TEST),
        "tuned": Value(0.85, 0.82, 0.88, 359, 0.4, TEST),
    }
    counted: dict[str, Any] = {"counts": COUNTS, "kept": KEPT, "stored_bytes": STORED}
    run = Run("tune", PLAN.to_json(), "f" * 64, values=values, seconds=2.5, **counted)
    return replace(run, **changes)
