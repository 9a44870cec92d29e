"""Systematic samples have one of all neighbours; their intervals are narrower and valid."""

import numpy as np
import pytest
import torch

from pruning_core.evaluation.sampling import similarity_order, subsample_interval, systematic_parts
from pruning_core.intervals import paired_interval
from pruning_core.tasks import CLASSIFICATION


def waves(n: int = 400) -> np.ndarray:
    """Changes that neighbours share: long runs of lost images, and a few gained by chance."""
    rng = np.random.default_rng(0)
    lost = np.sin(np.arange(n) / 12) > 0.2
    gained = rng.random(n) < 0.1
    return np.where(lost, -1, np.where(gained, 1, 0)).astype(np.int8)


def test_similarity_order_is_by_class_then_by_rising_or_falling_margin() -> None:
    logits = torch.tensor([[3.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 5.0], [0.0, 2.0]])
    labels = torch.tensor([0, 0, 1, 1, 0])
    assert similarity_order(CLASSIFICATION.similarity(logits, labels)) == [4, 1, 0, 3, 2]


@pytest.mark.parametrize(("n", "parts"), [(20, 10), (23, 10), (3, 10), (1, 4)])
def test_parts_are_disjoint_complete_and_have_one_of_every_neighbourhood(
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


def test_intervals_contain_the_mean_in_19_of_20_draws() -> None:
    change = waves()
    found = [
        subsample_interval(change[part], len(change))
        for seed in range(20)
        for part in systematic_parts(len(change), 10, seed)
    ]
    inside = [low <= change.mean() <= high for low, high in found]
    assert sum(inside) / len(inside) >= 0.95


def test_a_systematic_sample_has_a_narrower_interval_than_a_random_one() -> None:
    change = waves()
    part = systematic_parts(len(change), 10, 0)[0]
    low, high = subsample_interval(change[part], len(change))
    plain = paired_interval(int((change[part] > 0).sum()), int((change[part] < 0).sum()), len(part))
    assert high - low < 0.8 * (plain[1] - plain[0])


def test_no_change_in_the_sample_gives_the_interval_of_a_random_sample() -> None:
    low, high = subsample_interval(np.zeros(25, dtype=np.int8), 101)
    assert (low, high) == pytest.approx(
        tuple(end * np.sqrt(76 / 100) for end in paired_interval(0, 0, 25))
    )


def test_all_images_give_an_interval_of_no_width() -> None:
    change = waves(50)
    assert subsample_interval(change, 50) == pytest.approx((change.mean(), change.mean()))
