"""Which parameters can be pruned, which cannot and why, and which belong to attention heads."""

from pruning_core.model.inventory.layers import (
    CONVOLUTIONS,
    NORMS,
    SEPARATE,
    inventory,
    oihw,
    stored,
    unprunable_parameters,
    weights,
    without_classifier,
)

__all__ = [
    "CONVOLUTIONS",
    "NORMS",
    "SEPARATE",
    "inventory",
    "oihw",
    "stored",
    "unprunable_parameters",
    "weights",
    "without_classifier",
]
