"""The exact k-th smallest of many numbers, without a sort or a copy of all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SAMPLE = 2**18
"""How many numbers the sample has."""
CHUNK = 2**18
"""How many numbers are compared at once, so that they stay in the processor's cache."""
NONE = np.empty(0, np.float32)
Number = float | np.floating


@dataclass(frozen=True, eq=False)
class KthSmallest:
    """The k-th smallest number. below, equal: the count per row of smaller and equal numbers."""

    value: Number
    below: tuple[int, ...]
    equal: tuple[int, ...]


def kth_smallest(rows: Sequence[np.ndarray], count: int, without: np.ndarray = NONE) -> KthSmallest:
    """The `count`-th smallest number of all rows together, counted from 1. No number may be NaN.

    without: numbers to leave out, once for each time they are given.

    Two passes. A random sample, always the same one, gives two values that are likely to bracket
    the answer. The numbers below the bracket are counted; those inside are copied. If the bracket
    misses the answer, all numbers are copied. After Floyd and Rivest 1975, Algorithm 489,
    Comm. ACM 18(3).

    >>> kth_smallest([np.array([3.0, 1.0]), np.array([2.0, 2.0])], 3).below
    (1, 0)
    """
    total = sum(row.size for row in rows)
    low, high = _bracket(rows, count / max(1, total - without.size), total)
    below, inside = _split(rows, low, high)
    n_below = sum(below) - int(np.count_nonzero(without < low))
    left_out = without[(without >= low) & (without <= high)]
    if not n_below < count <= n_below + sum(part.size for part in inside) - left_out.size:
        below, inside = _split(rows, -np.inf, np.inf)
        n_below = 0
        left_out = without
    value = _pick(np.concatenate(inside), count - n_below, left_out)
    lower = tuple(
        n + int(np.count_nonzero(part < value)) for n, part in zip(below, inside, strict=True)
    )
    return KthSmallest(value, lower, tuple(int(np.count_nonzero(part == value)) for part in inside))


def _bracket(rows: Sequence[np.ndarray], share: float, total: int) -> tuple[Number, Number]:
    """Two values around the number with that share of all below it, by a sample.

    The margin is six standard deviations to each side. Both are infinite where numbers are few.
    """
    if total <= 4 * SAMPLE:
        return -np.inf, np.inf
    rng = np.random.default_rng(0)
    sample = np.concatenate(
        [row[rng.integers(row.size, size=SAMPLE * row.size // total)] for row in rows if row.size]
    )
    sample.sort()
    middle = share * sample.size
    margin = 6 * (sample.size * share * (1 - share)) ** 0.5 + 6
    first = int(middle - margin)
    last = int(middle + margin)
    low = sample[first] if first > 0 else -np.inf
    high = sample[last] if last < sample.size else np.inf
    return low, high


def _split(
    rows: Sequence[np.ndarray], low: Number, high: Number
) -> tuple[list[int], list[np.ndarray]]:
    """Per row, how many numbers are below `low`, and those from `low` to `high`."""
    below = []
    inside = []
    for row in rows:
        n_below = 0
        parts = []
        for start in range(0, row.size, CHUNK):
            chunk = row[start : start + CHUNK]
            selected = chunk >= low
            n_below += chunk.size - int(np.count_nonzero(selected))
            parts.append(chunk[np.logical_and(selected, chunk <= high, out=selected)])
        below.append(n_below)
        inside.append(np.concatenate(parts) if parts else row)
    return below, inside


def _pick(numbers: np.ndarray, count: int, without: np.ndarray) -> Number:
    """The `count`-th smallest of the numbers, without those in `without`; it may reorder them."""
    if not without.size:
        numbers.partition(count - 1)
        lowest: Number = numbers[count - 1]
        return lowest
    numbers.sort()
    rank = np.arange(1, numbers.size + 1) - np.searchsorted(np.sort(without), numbers, side="right")
    picked: Number = numbers[int(np.argmax(rank >= count))]
    return picked
