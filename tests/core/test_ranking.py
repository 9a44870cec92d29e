"""The k-th lowest number and its counts against a sort, with a sample so small that large arrays
take part.
"""

from unittest.mock import patch

import numpy as np
import pytest

from pruning_core import ranking
from pruning_core.ranking import NONE, KthSmallest, Number, kth_smallest

RNG = np.random.default_rng(3)
ROWS: dict[str, list[np.ndarray]] = {
    "one": [RNG.normal(size=9000).astype(np.float32)],
    "several": [RNG.normal(size=n).astype(np.float32) for n in (5000, 1, 4000, 300)],
    "doubles": [RNG.random(size=4000), RNG.random(size=5000) + 0.5],
    "ties": [RNG.integers(0, 4, size=6000).astype(np.float32), np.zeros(3000, np.float32)],
    "removed": [np.concatenate([np.full(4000, -np.inf, np.float32), RNG.random(5000, np.float32)])],
    "sorted": [np.arange(9000, dtype=np.float32)],
    "few": [np.array([3.0, 1.0, 2.0], np.float32)],
}


def by_sorting(rows: list[np.ndarray], count: int, without: np.ndarray) -> KthSmallest:
    left = list(np.sort(np.concatenate(rows)))
    for number in without:
        left.remove(number)
    value = left[count - 1]
    return KthSmallest(
        value,
        tuple(int((row < value).sum()) for row in rows),
        tuple(int((row == value).sum()) for row in rows),
    )


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("spare", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.8, 0.999, 1.0])
def test_the_kth_smallest_is_that_of_a_sort(name: str, spare: bool, share: float) -> None:
    rows = ROWS[name]
    before = [row.copy() for row in rows]
    without = (
        np.concatenate([np.sort(row)[-(1 + len(row) // 100) :] for row in rows]) if spare else NONE
    )
    total = sum(row.size for row in rows) - without.size
    if not total:
        return
    count = max(1, round(share * total))
    wanted = by_sorting(rows, count, without)
    with patch.object(ranking, "SAMPLE", 500), patch.object(ranking, "CHUNK", 700):
        found = kth_smallest(rows, count, without)
    assert (found.value, found.below, found.equal) == (wanted.value, wanted.below, wanted.equal)
    assert all(map(np.array_equal, rows, before))


@pytest.mark.parametrize("bracket", [(5.0, 6.0), (-2.0, -1.0), (0.2, 0.2)])
def test_a_bracket_that_misses_gives_the_same_answer(bracket: tuple[float, float]) -> None:
    rows = ROWS["one"]
    with patch.object(ranking, "_bracket", lambda *_: bracket):
        assert kth_smallest(rows, 4500).value == by_sorting(rows, 4500, NONE).value


def test_only_a_narrow_bracket_is_copied() -> None:
    taken: list[int] = []
    pick = ranking._pick

    def watching(numbers: np.ndarray, count: int, without: np.ndarray) -> Number:
        taken.append(numbers.size)
        return pick(numbers, count, without)

    many = np.random.default_rng(0).random(2_000_000, np.float32)
    with patch.object(ranking, "_pick", watching):
        found = kth_smallest([many], 1_600_000)
    assert found.value == np.partition(many, 1_599_999)[1_599_999]
    assert found.below[0] + found.equal[0] >= 1_600_000 > found.below[0]
    assert taken[0] < 40_000
