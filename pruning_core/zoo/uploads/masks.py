"""Masks to start from, in an uploaded file: exports of this program, or of torch.nn.utils.prune."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pruning_core.model.mask_files import by_parameter
from pruning_core.model.tensor_files import plain_tensor
from pruning_core.types import PruningError


def read_masks(content: Mapping[str, Any], network: nn.Module) -> dict[str, Tensor]:
    """Parameter name -> mask of the parameter's shape, True = keep.

    content: of a file (`read_tensors`): boolean tensors, or 0 and 1, under the parameters' names,
    or as `by_parameter` takes them. Raises PruningError for a mask
    that fits no parameter, and for other numbers.
    """
    given = {
        str(name): tensor
        for name, value in content.items()
        if (tensor := plain_tensor(value)) is not None
    }
    if not given:
        raise PruningError("The file has no masks.")
    parameters = dict(network.named_parameters())
    masks = by_parameter(given, parameters)
    return {name: _mask(name, mask, parameters.get(name)) for name, mask in masks.items()}


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
