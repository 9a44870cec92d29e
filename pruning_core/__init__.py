"""The pruning core: what to prune, in which groups, how much, when, and what it costs.

The names below are the public interface; docs/extending.md says how to add to it. Every mask is
True where a weight is kept.
"""

from pruning_core.compress.thin import thin
from pruning_core.evaluation.accuracy import evaluate
from pruning_core.model.inventory import inventory
from pruning_core.pipeline import choose_masks, counts, masked_copy, prune
from pruning_core.plan import Plan
from pruning_core.sensitivity.scan import scan_plan
from pruning_core.subjects.from_objects import workspace
from pruning_core.training.config import TrainConfig
from pruning_core.types import Finished, PruningError
from pruning_core.workspaces import Workspace, open_workspace

__version__ = "0.1.0"
__all__ = [
    "Finished",
    "Plan",
    "PruningError",
    "TrainConfig",
    "Workspace",
    "choose_masks",
    "counts",
    "evaluate",
    "inventory",
    "masked_copy",
    "open_workspace",
    "prune",
    "scan_plan",
    "thin",
    "workspace",
]
