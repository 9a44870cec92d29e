"""Simple, slow implementations to compare the fast ones with."""

import torch

from pruning_core.granularity import Granularity, to_groups
from pruning_core.types import Layer


def group_ids(layer: Layer, g: Granularity) -> torch.Tensor:
    """O I H W: the number of each weight's group, counted scope after scope."""
    groups = to_groups(torch.arange(layer.numel).view(layer.shape), g, layer)
    scopes, count, elements = groups.shape
    ids = torch.empty(layer.numel, dtype=torch.long)
    ids[groups.reshape(scopes * count, elements)] = torch.arange(scopes * count)[:, None]
    return ids.view(layer.shape)
