"""A flow in the background: which layers' masks are recorded, and one layer's masks over time."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from explorer.training.engine import MaskUpdate, training_events
from pruning_core.flows import History, packed
from pruning_core.pipeline import probe_split
from pruning_core.plan import Plan
from pruning_core.types import Layer
from pruning_core.workspaces import Workspace

MOST_WEIGHTS = 1 << 24
"""Up to this number of weights the masks of all layers are recorded, above it of one layer."""


def flow_events(
    plan: Plan, space: Workspace, chosen_layer: str | None, folder: Path | None = None
) -> Iterator[object]:
    """The events of the plan's flow, with masks measured on the probe images.

    chosen_layer: the layer that the page shows; its masks are recorded in every network. folder: as
    in `training_events`.
    """
    names = {layer.name for layer in space.layers}
    if sum(layer.numel for layer in space.layers) > MOST_WEIGHTS:
        names &= {chosen_layer}
    return training_events(plan, space, probe_split(plan, space), names, folder)


def mask_history(updates: Sequence[MaskUpdate], layer: Layer) -> History | None:
    """The layer's masks over time, the dense layer first; None where they were not recorded."""
    if not any(layer.name in update.bits for update in updates):
        return None
    dense = packed(torch.ones(layer.shape, dtype=torch.bool))
    masks = (update.bits.get(layer.name, dense) for update in updates)
    return History(layer.name, layer.shape, (dense, *masks))
