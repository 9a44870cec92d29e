"""Masks as files: safetensors, NumPy and PyTorch."""

import io
from collections.abc import Callable, Mapping

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from pruning_core.masks import intersect
from pruning_core.model.inventory import stored
from pruning_core.model.mask_forms import checked_masks
from pruning_core.plan import Plan
from pruning_core.types import GivenMasks, Layer

NamedMasks = Mapping[str, Tensor]
"""Parameter name -> boolean tensor of the parameter's shape (True = keep)."""


def masks_by_parameter(
    masks: GivenMasks, layers: tuple[Layer, ...], dependent: NamedMasks | None = None
) -> dict[str, Tensor]:
    """The masks by parameter name, in the shapes that `state_dict` has.

    A tied weight appears under each of its names. dependent: masks of what else is zero with
    removed filters, such as biases and norms (`coupling.dependent_masks`).
    Raises PruningError as `checked_masks`.
    """
    layer_of = {layer.name: layer for layer in layers}
    weights = {
        name: stored(mask, layer_of[key]).contiguous().clone()
        for key, mask in checked_masks(masks, layers).items()
        for name in (key, *layer_of[key].aliases)
    }
    others = {
        name: mask.contiguous().clone()
        for key, mask in (dependent or {}).items()
        for name in (key, *(layer_of[key].aliases if key in layer_of else ()))
    }
    return intersect(weights, others)


def masks_safetensors(masks: NamedMasks, plan: Plan) -> bytes:
    """A safetensors file of boolean tensors. Its metadata holds the plan as JSON."""
    metadata = {"format": "pruning-explorer-masks-1", "plan": plan.to_json()}
    return save(dict(masks), metadata=metadata)


def masks_npz(masks: NamedMasks, plan: Plan) -> bytes:
    """A compressed NumPy archive of boolean arrays. Its entry `plan` is the plan as JSON text."""
    buffer = io.BytesIO()
    arrays: dict[str, np.ndarray] = {name: mask.numpy() for name, mask in masks.items()}
    np.savez_compressed(buffer, allow_pickle=False, **arrays, **{"plan": np.array(plan.to_json())})
    return buffer.getvalue()


def masks_pt(masks: NamedMasks, plan: Plan) -> bytes:
    """A PyTorch file of a dict of boolean tensors.

    `torch.load(..., weights_only=True)` reads it; `torch.nn.utils.prune.custom_from_mask` takes the
    tensors. It does not hold the plan.
    """
    buffer = io.BytesIO()
    torch.save(dict(masks), buffer)
    return buffer.getvalue()


MASK_FORMATS: dict[str, Callable[[NamedMasks, Plan], bytes]] = {
    "safetensors": masks_safetensors,
    "npz": masks_npz,
    "pt": masks_pt,
}
"""File ending -> function that writes masks in this format."""
