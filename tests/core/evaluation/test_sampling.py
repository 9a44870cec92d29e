"""Even draws take one of all neighbours, and their intervals hold the mean of all as often as they
say, and are narrower.
"""

import numpy as np
import pytest
import torch

from pruning_core.evaluation.intervals import paired
from pruning_core.evaluation.sampling import similarity_order, subsample_interval, systematic_parts


def waves(n: int = 400) -> np.ndarray:
    """Changes that neighbours share: long runs of lost images, some gained by chance."""
    rng = np.random.default_rng(0)
    lost = np.sin(np.arange(n) / 12) > 0.2
    gained = rng.random(n) < 0.1
    return np.where(lost, -1, np.where(gained, 1, 0)).astype(np.int8)


def test_alike_orders_by_class_and_up_and_down_by_margin() -> None:
    logits = torch.tensor([[3.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 5.0], [0.0, 2.0]])
    labels = torch.tensor([0, 0, 1, 1, 0])
    assert similarity_order(logits, labels) == [4, 1, 0, 3, 2]


@pytest.mark.parametrize(("n", "parts"), [(20, 10), (23, 10), (3, 10), (1, 4)])
def test_parts_are_disjoint_hold_all_places_and_one_of_every_neighbourhood(
    n: int, parts: int
) -> None:
    found = systematic_parts(n, parts, seed=3)
    count = min(n, parts)
    assert sorted(np.concatenate(found).tolist()) == list(range(n))
    for part in found:
        whole = part[part < n // count * count] // count
        assert whole.tolist() == list(range(n // count))
    assert [part.tolist() for part in systematic_parts(n, parts, seed=3)] == [
        part.tolist() for part in found
    ]


def test_the_same_seed_draws_the_same_parts_and_another_draws_others() -> None:
    assert any(
        (a != b).any()
        for a, b in zip(systematic_parts(100, 10, 0), systematic_parts(100, 10, 1), strict=True)
    )


def test_intervals_hold_the_mean_at_nineteen_draws_in_twenty() -> None:
    change = waves()
    found = [
        subsample_interval(change[part], len(change))
        for seed in range(20)
        for part in systematic_parts(len(change), 10, seed)
    ]
    inside = [low <= change.mean() <= high for low, high in found]
    assert sum(inside) / len(inside) >= 0.95


def test_an_even_draw_is_surer_than_a_plain_one() -> None:
    change = waves()
    part = systematic_parts(len(change), 10, 0)[0]
    low, high = subsample_interval(change[part], len(change))
    plain = paired(int((change[part] > 0).sum()), int((change[part] < 0).sum()), len(part))
    assert high - low < 0.8 * (plain[1] - plain[0])


def test_nothing_seen_to_change_is_the_plain_interval_for_a_draw_without_return() -> None:
    low, high = subsample_interval(np.zeros(25, dtype=np.int8), 101)
    assert (low, high) == pytest.approx(tuple(end * np.sqrt(76 / 100) for end in paired(0, 0, 25)))


def test_all_images_leave_no_doubt() -> None:
    change = waves(50)
    assert subsample_interval(change, 50) == pytest.approx((change.mean(), change.mean()))
