"""The events of a measurement of time. This module does not use Streamlit."""

from collections.abc import Iterator, Sequence

from pruning_core.plan import Plan
from pruning_core.workspaces import Workspace

SECONDS = 4.0
"""For one runtime at one batch size."""
MULTIPLES = (8, 16)
"""Thinned networks with widths of these multiples are measured too."""


def latency_events(plan: Plan, space: Workspace, batches: Sequence[int]) -> Iterator[object]:
    """The events of the measurement in the background."""
    from pruning_core.compress.latency import time_plan  # not before it is used

    yield from time_plan(plan, space, batches=batches, round_to=MULTIPLES, budget=SECONDS)
