"""Masks to start from, in an uploaded file: exports of this program, or of torch.nn.utils.prune."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pruning_core.model.tensor_files import plain_tensor
from pruning_core.types import PruningError


def read_masks(content: Mapping[str, Any], network: nn.Module) -> dict[str, Tensor]:
    """Parameter name -> mask of the parameter's shape, True = keep.

    content: of a file (`read_tensors`): boolean tensors, or 0 and 1, under the parameters' names;
    or a state_dict with the endings _mask of torch.nn.utils.prune. Raises PruningError for a mask
    that fits no parameter, and for other numbers.
    """
    given = {
        str(name): tensor
        for name, value in content.items()
        if (tensor := plain_tensor(value)) is not None
    }
    pruned = {
        name.removesuffix("_mask"): tensor
        for name, tensor in given.items()
        if name.endswith("_mask") and f"{name.removesuffix('_mask')}_orig" in given
    }
    masks = pruned or given
    if not masks:
        raise PruningError("The file has no masks.")
    parameters = dict(network.named_parameters())
    prefix = _prefix(masks, parameters)
    return {
        name.removeprefix(prefix): _mask(name, mask, parameters.get(name.removeprefix(prefix)))
        for name, mask in masks.items()
    }


def _prefix(masks: Mapping[str, Tensor], parameters: Mapping[str, nn.Parameter]) -> str:
    """The prefix of all names, such as module., without which they are the network's."""
    first = next(iter(masks))
    parts = first.split(".")
    prefixes = [".".join((*parts[:start], "")) for start in range(len(parts))]
    for prefix in ("", *prefixes[1:]):
        names = [name.removeprefix(prefix) for name in masks if name.startswith(prefix)]
        if len(names) == len(masks) and any(name in parameters for name in names):
            return prefix
    return ""


def _mask(name: str, mask: Tensor, parameter: nn.Parameter | None) -> Tensor:
    if parameter is None:
        raise PruningError(f"The network has no '{name[:80]}', of which the file has a mask.")
    if mask.shape != parameter.shape:
        raise PruningError(
            f"The mask of {name[:80]} has the shape {tuple(mask.shape)}, and the parameter has "
            f"{tuple(parameter.shape)}."
        )
    keep = mask != 0
    if mask.dtype != torch.bool and not bool((mask == keep.to(mask.dtype)).all()):
        raise PruningError(f"The mask of {name[:80]} has other numbers than 0 and 1.")
    return keep.clone()
