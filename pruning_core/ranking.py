"""The k-th lowest of many numbers, exactly, without sorting or copying them: a sample brackets it,
a count proves it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SAMPLE = 2**18
CHUNK = 2**18
"""Numbers in the sample; numbers looked at together, so that they stay in the processor's cache."""
NONE = np.empty(0, np.float32)
Number = float | np.floating


@dataclass(frozen=True, eq=False)
class KthSmallest:
    """The k-th lowest number; below, equal: how many of each row are lower, and how many are the
    same.
    """

    value: Number
    below: tuple[int, ...]
    equal: tuple[int, ...]


def kth_smallest(rows: Sequence[np.ndarray], count: int, without: np.ndarray = NONE) -> KthSmallest:
    """The `count`-th lowest, counted from 1, of all rows together, one of each number in `without`
    left out; no NaN.

    Two passes: values around the wanted rank of a random sample (always the same one) bracket the
    answer but for chance, the numbers below are counted and those between taken out. Where chance
    or `count` fails, everything is between. After Floyd and Rivest 1975, Algorithm 489, Comm. ACM
    18(3).
    """
    total = sum(row.size for row in rows)
    low, high = _guess(rows, count / max(1, total - without.size), total)
    below, inside = _split(rows, low, high)
    before = sum(below) - int(np.count_nonzero(without < low))
    spared = without[(without >= low) & (without <= high)]
    if not before < count <= before + sum(part.size for part in inside) - spared.size:
        (below, inside) = _split(rows, -np.inf, np.inf)
        before = 0
        spared = without
    value = _pick(np.concatenate(inside), count - before, spared)
    lower = tuple(
        n + int(np.count_nonzero(part < value)) for n, part in zip(below, inside, strict=True)
    )
    return KthSmallest(value, lower, tuple(int(np.count_nonzero(part == value)) for part in inside))


def _guess(rows: Sequence[np.ndarray], share: float, total: int) -> tuple[Number, Number]:
    """Numbers between which that share of all lies, six standard deviations to each side; infinite
    where there are few.
    """
    if total <= 4 * SAMPLE:
        return -np.inf, np.inf
    rng = np.random.default_rng(0)
    sample = np.concatenate(
        [row[rng.integers(row.size, size=SAMPLE * row.size // total)] for row in rows if row.size]
    )
    sample.sort()
    middle = share * sample.size
    spread = 6 * (sample.size * share * (1 - share)) ** 0.5 + 6
    first = int(middle - spread)
    last = int(middle + spread)
    return sample[first] if first > 0 else -np.inf, sample[last] if last < sample.size else np.inf


def _split(
    rows: Sequence[np.ndarray], low: Number, high: Number
) -> tuple[list[int], list[np.ndarray]]:
    """Per row, how many numbers are below `low`, and those from `low` to `high`."""
    below = []
    inside = []
    for row in rows:
        parts = []
        for part in (row[start : start + CHUNK] for start in range(0, row.size, CHUNK)):
            taken = part >= low
            parts.append(
                (
                    part.size - int(np.count_nonzero(taken)),
                    part[np.logical_and(taken, part <= high, out=taken)],
                )
            )
        below.append(sum(n for n, _ in parts))
        inside.append(np.concatenate([found for _, found in parts]) if parts else row)
    return below, inside


def _pick(numbers: np.ndarray, count: int, without: np.ndarray) -> Number:
    """The `count`-th lowest of the numbers, which may be reordered, one of each in `without` left
    out.
    """
    if not without.size:
        numbers.partition(count - 1)
        lowest: Number = numbers[count - 1]
        return lowest
    numbers.sort()
    rank = np.arange(1, numbers.size + 1) - np.searchsorted(np.sort(without), numbers, side="right")
    picked: Number = numbers[int(np.argmax(rank >= count))]
    return picked
