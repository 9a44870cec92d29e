"""What a flow's goal can limit besides counts: stored bytes, computed, and time, measured."""

from collections.abc import Callable, Mapping

from pruning_core.compress.storage_sizes import stored_share
from pruning_core.flows import Share
from pruning_core.granularity import granularity
from pruning_core.pipeline import masked_copy
from pruning_core.plan import Plan
from pruning_core.types import Masks
from pruning_core.workspaces import Workspace


def bytes_left(plan: Plan, space: Workspace, masks: Masks) -> Share:
    """Bytes in the smallest sparse format / dense bytes, computed."""
    return Share(stored_share(space.model, space.layers, masks, granularity(plan.granularity)))


def time_left(plan: Plan, space: Workspace, masks: Masks) -> Share:
    """Time of the pruned network, thinned where that is possible / dense time, measured in pairs.

    In PyTorch on the CPU (`latency.pruned_timing`). The note: why the measurement may be wrong.
    """
    from pruning_core.compress.latency import pruned_timing  # not before it is used

    timing = pruned_timing(plan, space, masks, masked_copy(plan, space, masks))
    return Share(1 / timing.speedup, timing.doubt)


COSTS: Mapping[str, Callable[[Plan, Workspace, Masks], Share]] = {
    "bytes": bytes_left,
    "time": time_left,
}
"""By the names of a goal's budgets."""
