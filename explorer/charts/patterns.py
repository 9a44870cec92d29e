"""Small pictures of granularities: one small layer with half of its weights removed."""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool
from PIL import Image
from torch import Tensor

from explorer.charts.raster import png
from explorer.charts.towers import towers
from pruning_core.granularity import Granularity, from_groups, supports, to_groups
from pruning_core.masks import lowest, n_removed
from pruning_core.types import Layer

SHAPE = (8, 4, 3, 3)
"""Filters, channels, kernel."""
UNIT = 3.2
"""Half the width of a tile, in pixels of the page."""
SMALL = Layer("small", "small", "conv2d", SHAPE, SHAPE)
WIDE = Layer("small", "small", "conv2d", (4, 8, 3, 3), (4, 8, 3, 3))
"""As many weights, for a flat picture."""
ATTENTION = Layer("small", "small", "attention_in", (12, 24, 1, 1), (12, 24), heads=4)
"""The queries, keys and values of an attention layer."""
CELL = 2
"""The width of a weight in a flat picture, in pixels."""
FAINT = 60
"""How opaque a removed weight is in a flat picture, of 255."""


@lru_cache(maxsize=64)
def pattern_png(g: Granularity) -> tuple[bytes, int, int] | None:
    """A picture with its width and height in pixels; None where a convolution has no such groups.

    The weights are random, always the same.
    """
    if supports(g, SMALL) is not None:
        return None
    return towers(_half(g, SMALL).numpy(), UNIT)


@lru_cache(maxsize=64)
def flat_png(g: Granularity) -> bytes:
    """Filters downwards, channels across, as in the mask lab; of an attention layer outputs and
    inputs.

    The picture has no colour: kept weights are opaque, removed ones faint.
    """
    kept = _half(g, WIDE if supports(g, WIDE) is None else ATTENTION).numpy()
    o, i, h, w = kept.shape
    cells = np.where(kept, 255, FAINT).astype(np.uint8).transpose(0, 2, 1, 3)
    cells = cells.repeat(CELL, 1).repeat(CELL, 3)
    gap = int(h * w > 1)
    cells = np.pad(cells, ((0, 0), (0, gap), (0, 0), (0, gap)))
    opaque = Image.fromarray(cells.reshape(o * cells.shape[1], i * cells.shape[3]))
    return png(Image.merge("LA", (Image.new("L", opaque.size), opaque)))


def _half(g: Granularity, layer: Layer) -> Bool[Tensor, "o i h w"]:
    """The layer's mask at half of its weights, or at the granularity's fixed ratio."""
    weight = torch.randn(layer.shape, generator=torch.Generator().manual_seed(0))
    return small_mask(weight, g, 0.5 if g.fixed_ratio is None else g.fixed_ratio, layer)


def small_mask(weight: Tensor, g: Granularity, ratio: float, layer: Layer = SMALL) -> Tensor:
    """The mask of a small layer, O I H W, True = keep. The least mean |w| are removed."""
    scores = to_groups(weight.abs(), g, layer).mean(-1)
    return from_groups(~lowest(scores, n_removed(g, ratio, scores.shape[1])), g, layer)
