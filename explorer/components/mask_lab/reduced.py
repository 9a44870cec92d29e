"""A layer too large for a cell per weight: blocks of whole kernels, each with its mean |weight| and the order of its weights."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from pruning_core.granularity import Granularity, group_tables
from pruning_core.masks import ranks
from pruning_core.types import Layer

REDUCED_CELLS = 1 << 17
QUARTERS = 5
SORTED_AT_ONCE = 1 << 22
"""Groups of a scope: larger scopes are placed by the first bits of the scores."""


def reduced_parts(
    layer: Layer, weight: torch.Tensor, scores: torch.Tensor | None, g: Granularity, limit: float
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What the head says of the blocks, and the bytes of each: mean |weight| over limit, and QUARTERS places in 0..255."""
    o, i = layer.shape[:2]
    down, across = factors(layer)
    rows, cols = -(-o // down), -(-i // across)
    values = np.empty((rows, cols), np.uint8)
    places = np.zeros((QUARTERS, rows, cols), np.uint8)
    levels = None if scores is None else _by_weight(layer, _levels(scores).flatten(), g)
    for row in range(rows):
        part = slice(row * down, min(o, (row + 1) * down))
        values[row] = np.minimum(255, _mean(weight[part].abs(), across) / limit * 255).round()
        if levels is not None:
            places[:, row] = _quarters(levels(part), across)
    found: dict[str, np.ndarray] = {
        "values": values.ravel(),
        "valuesScale": np.array([limit], np.float32),
        "places": places.ravel(),
    }
    starts = {"rowAt": np.arange(rows, dtype=np.float32), "colAt": np.arange(cols, dtype=np.float32)}
    return {"factors": [down, across]}, found | starts


def _by_weight(layer: Layer, levels: torch.Tensor, g: Granularity) -> Callable[[slice], torch.Tensor]:
    """The level of each weight's group, for a run of filters."""
    o, i, h, w = group_tables(g, layer)
    inside = i[:, None, None] + h[:, None] + w
    if len(levels) == layer.numel and torch.equal(inside.flatten(), torch.arange(inside.numel())):
        return lambda part: levels.view(layer.shape)[part]
    return lambda part: levels[o[part, None, None, None] + inside]


def factors(layer: Layer) -> tuple[int, int]:
    """Filters and channels in a block: the smallest, near square, that make at most REDUCED_CELLS blocks."""
    o, i = layer.shape[:2]
    sides = [1, 1]
    while -(-o // sides[0]) * -(-i // sides[1]) > REDUCED_CELLS:
        longer = 0 if o / sides[0] >= i / sides[1] else 1
        sides[longer] += 1
    return sides[0], sides[1]


def _levels(scores: torch.Tensor) -> torch.Tensor:
    """scope x group -> 0..255: the share of the scope that goes before the group; nearly so in very large scopes."""
    scopes, groups = scores.shape
    if groups > SORTED_AT_ONCE:
        return torch.stack([torch.from_numpy(_keyed(scope)) for scope in scores.float().numpy()])
    found = torch.empty(scores.shape, dtype=torch.uint8)
    step = max(1, SORTED_AT_ONCE // groups)
    for start in range(0, scopes, step):
        found[start : start + step] = (ranks(scores[start : start + step]).long() * 256 // groups).to(torch.uint8)
    return found


def _keyed(scores: np.ndarray) -> np.ndarray:
    """Levels without sorting: float32 scores that share their first 16 bits (0.4% of their value) share a level."""
    found, counts = np.empty(len(scores), np.uint16), np.zeros(1 << 16, np.int64)
    for start in range(0, len(scores), SORTED_AT_ONCE):
        bits = scores[start : start + SORTED_AT_ONCE].view(np.uint32) >> 16
        keys = np.where(bits & 0x8000, 0xFFFF - bits, bits | 0x8000).astype(np.uint16)
        counts += np.bincount(keys, minlength=1 << 16)
        found[start : start + SORTED_AT_ONCE] = keys
    levels = ((counts.cumsum() - counts) * 256 // len(scores)).astype(np.uint8)
    return levels[found]


def _mean(magnitudes: torch.Tensor, across: int) -> np.ndarray:
    """Filters x channels x h x w -> the mean of each run of `across` channels."""
    channel = magnitudes.mean((0, 2, 3)).numpy()
    starts = np.arange(0, len(channel), across)
    return np.add.reduceat(channel, starts) / np.diff(np.append(starts, len(channel)))


def _quarters(levels: torch.Tensor, across: int) -> np.ndarray:
    """Filters x channels x h x w -> QUARTERS x runs: lowest, quarters and highest of each run; the last run may be shorter."""
    flat = levels.transpose(0, 1).flatten(1)
    whole = len(flat) // across
    parts = [flat[: whole * across].reshape(whole, -1)] + ([flat[whole * across :].reshape(1, -1)] if len(flat) % across else [])
    found = []
    for part in parts:
        ordered = np.sort(part.numpy(), axis=1, kind="stable")
        found.append(ordered[:, np.linspace(0, ordered.shape[1] - 1, QUARTERS).round().astype(int)])
    return np.concatenate(found).T
