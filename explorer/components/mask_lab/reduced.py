"""A layer too large for a cell per weight: blocks of whole kernels.

Each block has its mean |weight| and the ranks of its weights.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from explorer.components.mask_lab.ranking import RUN, levels, levels_among, parallel_map
from pruning_core.granularity import Granularity, group_tables
from pruning_core.masks import as_array
from pruning_core.types import Layer

REDUCED_CELLS = 1 << 17
QUARTERS = 5


def reduced_parts(
    layer: Layer, weight: torch.Tensor, scores: torch.Tensor | None, g: Granularity, limit: float
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The factors of the blocks, and the bytes of each: mean |weight| / limit, QUARTERS levels."""
    o, i = layer.shape[:2]
    down, across = factors(layer)
    rows = -(-o // down)
    cols = -(-i // across)
    values = np.empty((rows, cols), np.uint8)
    numbers = weight.numpy()
    # In a large scope, only the quarters of the scores get a level: far fewer values.
    late = scores is not None and scores.shape[0] == 1 and scores.shape[1] > RUN
    order = None if scores is None else as_array(scores).ravel() if late else levels(scores)
    places = np.zeros((QUARTERS, rows, cols), np.uint8 if order is None else order.dtype)
    by_weight = None if order is None else _by_weight(layer, order, g)

    def strip(row: int) -> None:
        part = slice(row * down, min(o, (row + 1) * down))
        values[row] = np.minimum(255, _mean(numbers[part], across) / limit * 255).round()
        if by_weight is not None:
            places[:, row] = _quarters(by_weight(part), across)

    for _ in parallel_map(strip, range(rows)):
        pass
    if late and order is not None:
        places = levels_among(order, places)
    arrays: dict[str, np.ndarray] = {
        "values": values.ravel(),
        "valuesScale": np.array([limit], np.float32),
        "places": places.ravel(),
    }
    starts = {
        "rowAt": np.arange(rows, dtype=np.float32),
        "colAt": np.arange(cols, dtype=np.float32),
    }
    return {"factors": [down, across]}, arrays | starts


def _by_weight(layer: Layer, order: np.ndarray, g: Granularity) -> Callable[[slice], np.ndarray]:
    """Filters -> the order of each weight's group, filters x channels x h x w.

    An axis along which the group does not change has length 1.
    """
    tables = [table.numpy() for table in group_tables(g, layer)]
    tables = [table[:1] if (table == table[0]).all() else table for table in tables]
    o, i, h, w = tables
    inside = i[:, None, None] + h[:, None] + w
    whole = len(o) == 1
    straight = np.array_equal(o, np.arange(len(o)) * inside.size) and np.array_equal(
        inside.ravel(), np.arange(inside.size)
    )
    if straight and len(order) == len(o) * inside.size:
        shaped = order.reshape(len(o), *inside.shape)
        return lambda part: shaped if whole else shaped[part]
    return lambda part: order[(o if whole else o[part])[:, None, None, None] + inside]


def factors(layer: Layer) -> tuple[int, int]:
    """Filters and channels in a block: the smallest that give at most REDUCED_CELLS blocks.

    A side is at most twice the other; within that, the picture is as square as possible, so that a
    long layer fills more of the screen.
    """
    o, i = layer.shape[:2]
    sides = [1, 1]
    while -(-o // sides[0]) * -(-i // sides[1]) > REDUCED_CELLS:
        longer = 0 if o / sides[0] >= i / sides[1] else 1
        sides[longer if sides[longer] < 2 * sides[1 - longer] else 1 - longer] += 1
    return sides[0], sides[1]


def _mean(weights: np.ndarray, across: int) -> np.ndarray:
    """Filters x channels x h x w -> the mean |weight| of each run of `across` channels."""
    f, i, h, w = weights.shape
    channel = np.abs(weights).reshape(f, -1).sum(0).reshape(i, h * w).sum(1) / (f * h * w)
    starts = np.arange(0, i, across)
    return np.add.reduceat(channel, starts) / np.diff(np.append(starts, i))


def _quarters(order: np.ndarray, across: int) -> np.ndarray:
    """Filters x channels x h x w -> QUARTERS x runs: lowest, quarters and highest of each run.

    The last run may be shorter.
    """
    channels = order.shape[1]
    flat = order.transpose(1, 0, 2, 3).reshape(channels, -1)
    whole = channels // across if channels > 1 else 1
    across = across if channels > 1 else 1
    parts = [flat[: whole * across].reshape(whole, -1), flat[whole * across :].reshape(1, -1)]
    quarters = []
    for part in parts:
        if part.size:
            # Bytes are sorted by counting, floats by vector instructions.
            ordered = np.sort(part, axis=1, kind="stable" if order.dtype == np.uint8 else None)
            quarters.append(
                ordered[:, np.linspace(0, ordered.shape[1] - 1, QUARTERS).round().astype(int)]
            )
    return np.concatenate(quarters).T
