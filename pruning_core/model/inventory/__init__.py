"""Which parameters can be pruned, which cannot and why, and which belong to attention heads."""

from pruning_core.model.inventory.kinds import CONVOLUTIONS, SEPARATE
from pruning_core.model.inventory.layers import inventory, without_classifier
from pruning_core.model.inventory.reparametrised import (
    from_torch_prune,
    make_prune_permanent,
)
from pruning_core.model.inventory.trace import answers
from pruning_core.model.inventory.unprunable import NORMS, unprunable_parameters
from pruning_core.model.inventory.views import (
    named_parameters,
    oihw,
    output_axis,
    stored,
    weights,
)

__all__ = [
    "CONVOLUTIONS",
    "NORMS",
    "SEPARATE",
    "answers",
    "from_torch_prune",
    "inventory",
    "make_prune_permanent",
    "named_parameters",
    "oihw",
    "output_axis",
    "stored",
    "unprunable_parameters",
    "weights",
    "without_classifier",
]
