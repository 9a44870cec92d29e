"""Small pictures of granularities: one small convolution with half of its weights removed."""

from functools import lru_cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from explorer.charts.towers import towers
from pruning_core.granularity import Granularity, from_groups, supports, to_groups
from pruning_core.masks import lowest, n_removed
from pruning_core.types import Layer

SHAPE = (8, 4, 3, 3)
"""Filters, channels, kernel."""
UNIT = 3.2
"""Half the width of a tile, in pixels of the page."""
SMALL = Layer("small", "small", "conv2d", SHAPE, SHAPE)


@lru_cache(maxsize=64)
def pattern_png(g: Granularity) -> tuple[bytes, int, int] | None:
    """A picture with its width and height in pixels; None where a convolution has no such groups.

    The weights are random, always the same.
    """
    if supports(g, SMALL) is not None:
        return None
    weight = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    kept = cut(weight, g, 0.5 if g.fixed_ratio is None else g.fixed_ratio)
    return towers(kept.numpy(), UNIT)


def cut(weight: Float[Tensor, "8 4 3 3"], g: Granularity, ratio: float) -> Bool[Tensor, "8 4 3 3"]:
    """What is kept of the small convolution: the groups with the least mean |w| are removed."""
    scores = to_groups(weight.abs(), g, SMALL).mean(-1)
    return from_groups(~lowest(scores, n_removed(g, ratio, scores.shape[1])), g, SMALL)
