"""A small pre-norm vision transformer with one packed `in_proj_weight` per block."""

from collections import OrderedDict
from typing import Any, TypeAlias

import torch
from torch import nn

Traced: TypeAlias = Any
"""A tensor, or the proxy that torch.fx passes instead of it."""

STRIDED_FROM = 28
"""The first convolution halves images of at least this height and width: a quarter of the work,
with little loss of accuracy.
"""
DIM = 64
DEPTH = 4
HEADS = 4
HIDDEN = 128


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(dim)
        parts = [
            ("fc1", nn.Linear(dim, hidden)),
            ("gelu", nn.GELU()),
            ("fc2", nn.Linear(hidden, dim)),
        ]
        self.mlp = nn.Sequential(OrderedDict(parts))

    def forward(self, x: Traced) -> Traced:
        y = self.norm1(x)
        # With a separate tensor object as value, MultiheadAttention does not use its fused kernel,
        # which FLOP counters do not see.
        x = x + self.attention(y, y, y.view_as(y), need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """Tokens from two strided 3 x 3 convolutions, learned positions, pre-norm blocks, mean over
    tokens, linear head.

    Convolutions instead of patches: Xiao et al. 2021, arXiv:2106.14881. They need fewer epochs.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, strides: tuple[int, int]) -> None:
        super().__init__()
        c, h, w = shape
        first, second = strides
        stem = [
            ("conv1", nn.Conv2d(c, DIM // 4, 3, first, 1, bias=False)),
            ("bn1", nn.BatchNorm2d(DIM // 4)),
            ("relu1", nn.ReLU()),
            ("conv2", nn.Conv2d(DIM // 4, DIM, 3, second, 1)),
        ]
        self.stem = nn.Sequential(OrderedDict(stem))
        patch = first * second
        self.positions = nn.Parameter(torch.randn(1, -(-h // patch) * -(-w // patch), DIM) * 0.02)
        self.blocks = nn.Sequential(*(Block(DIM, HEADS, HIDDEN) for _ in range(DEPTH)))
        self.norm = nn.LayerNorm(DIM)
        self.head = nn.Linear(DIM, classes)

    def forward(self, x: Traced) -> Traced:
        tokens = self.stem(x).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.norm(self.blocks(tokens)).mean(1))


def vit(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Four blocks of width 64 with 4 heads. A token covers 4 x 4 pixels, or 2 x 2 in images smaller
    than 28 x 28.
    """
    return VisionTransformer(shape, classes, (2, 2) if min(shape[1:]) >= STRIDED_FROM else (1, 2))
