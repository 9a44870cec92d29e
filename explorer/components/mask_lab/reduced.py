"""A layer too large for a cell per weight: blocks of whole kernels, each with its mean |weight| and the order of its weights."""

from typing import Any

import numpy as np
import torch

from pruning_core.granularity import Granularity, group_tables
from pruning_core.masks import ranks
from pruning_core.types import Layer

REDUCED_CELLS = 1 << 17
QUARTERS = 5
SORTED_AT_ONCE, MAX_SAMPLE = 1 << 22, 1 << 20
"""Elements of a scope: larger ones are placed by thresholds, which a sample of them gives."""


def reduced_parts(
    layer: Layer, weight: torch.Tensor, scores: torch.Tensor | None, g: Granularity, limit: float
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What the head says of the blocks, and the bytes of each: mean |weight| over limit, and QUARTERS places in 0..255."""
    o, i = layer.shape[:2]
    down, across = factors(layer)
    rows, cols = -(-o // down), -(-i // across)
    values = np.empty((rows, cols), np.uint8)
    places = np.zeros((QUARTERS, rows, cols), np.uint8)
    levels = None if scores is None else _levels(scores).flatten()
    tables = None if scores is None else group_tables(g, layer)
    for row in range(rows):
        part = slice(row * down, min(o, (row + 1) * down))
        values[row] = np.minimum(255, _mean(weight[part].abs(), across) / limit * 255).round()
        if levels is not None and tables is not None:
            ids = tables[0][part, None, None, None] + tables[1][:, None, None] + tables[2][:, None] + tables[3]
            places[:, row] = _quarters(levels[ids], across)
    found: dict[str, np.ndarray] = {
        "values": values.ravel(),
        "valuesScale": np.array([limit], np.float32),
        "places": places.ravel(),
    }
    starts = {"rowAt": np.arange(rows, dtype=np.float32), "colAt": np.arange(cols, dtype=np.float32)}
    return {"factors": [down, across]}, found | starts


def factors(layer: Layer) -> tuple[int, int]:
    """Filters and channels in a block: the smallest, near square, that make at most REDUCED_CELLS blocks."""
    o, i = layer.shape[:2]
    sides = [1, 1]
    while -(-o // sides[0]) * -(-i // sides[1]) > REDUCED_CELLS:
        longer = 0 if o / sides[0] >= i / sides[1] else 1
        sides[longer] += 1
    return sides[0], sides[1]


def _levels(scores: torch.Tensor) -> torch.Tensor:
    """scope x group -> 0..255: the share of the scope that goes before the group, rounded down; sampled in very large scopes."""
    scopes, groups = scores.shape
    found = torch.empty(scores.shape, dtype=torch.uint8)
    step = max(1, SORTED_AT_ONCE // groups)
    for start in range(0, scopes, step):
        part = scores[start : start + step]
        if groups <= SORTED_AT_ONCE:
            found[start : start + step] = (ranks(part).long() * 256 // groups).to(torch.uint8)
        else:
            found[start] = _sampled(part[0])
    return found


def _sampled(scores: torch.Tensor) -> torch.Tensor:
    ordered = scores[:: 1 + len(scores) // MAX_SAMPLE].sort().values
    steps = ordered[(torch.arange(1, 256) * len(ordered)) // 256]
    chunks = (
        torch.searchsorted(steps, part, right=True, out_int32=True).to(torch.uint8) for part in scores.split(SORTED_AT_ONCE)
    )
    return torch.cat(list(chunks))


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
        ordered = part.sort(dim=1).values
        at = (torch.linspace(0, 1, QUARTERS) * (ordered.shape[1] - 1)).round().long()
        found.append(ordered[:, at])
    return torch.cat(found).T.numpy()
