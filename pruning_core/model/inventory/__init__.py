"""Which parameters of a model can be pruned, which are shown only, and which belong to attention heads."""

from pruning_core.inventory.layers import (
    CONVOLUTIONS,
    NORMS,
    SEPARATE,
    fixed_parameters,
    inventory,
    oihw,
    weights,
    without_classifier,
)

__all__ = [
    "CONVOLUTIONS", "NORMS", "SEPARATE", "fixed_parameters", "inventory", "oihw", "weights", "without_classifier",
]  # fmt: skip
