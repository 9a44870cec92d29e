"""Intervals against published numbers, an independent likelihood and their coverage of 95%."""

import math

import pytest
import torch

from pruning_core.evaluation.accuracy import summarise
from pruning_core.intervals import paired_interval, wilson_interval
from pruning_core.tasks import change
from tests.core.toy import refusal


@pytest.mark.parametrize("n", [1, 2, 7, 50, 512, 10_000])
def test_wilson_is_scipys(n: int) -> None:
    from scipy.stats import binomtest

    for correct in sorted({0, 1, n // 3, n // 2, n - 1, n}):
        for confidence in (0.8, 0.95, 0.99):
            scipys = binomtest(correct, n).proportion_ci(confidence, method="wilson")
            assert wilson_interval(correct, n, confidence) == pytest.approx(scipys, abs=1e-12)


def test_paired_without_any_change_has_a_closed_form() -> None:
    z2 = 1.959964**2
    assert paired_interval(0, 0, 50) == pytest.approx((-z2 / (50 + z2), z2 / (50 + z2)), abs=1e-6)


def likeliest(b: int, c: int, n: int, d: float) -> float:
    """The fraction of lost images that maximises the multinomial likelihood given d, by search."""
    low = max(0.0, -d)
    high = (1 - d) / 2
    best = -math.inf
    where = low
    for k in range(1, 20000):
        q = low + (high - low) * k / 20000
        found = sum(
            count * math.log(share)
            for count, share in ((b, q + d), (c, q), (n - b - c, 1 - 2 * q - d))
            if count
        )
        if found > best:
            best = found
            where = q
    return where


@pytest.mark.parametrize(("b", "c", "n"), [(3, 9, 60), (0, 5, 40), (12, 2, 512), (20, 21, 100)])
def test_paired_is_where_the_score_test_stops_rejecting(b: int, c: int, n: int) -> None:
    for bound in paired_interval(b, c, n):
        q = likeliest(b, c, n, bound)
        score = (b - c - n * bound) / math.sqrt(n * (2 * q + bound * (1 - bound)))
        assert abs(score) == pytest.approx(1.959964, abs=2e-3)


def test_paired_is_symmetric_contains_the_estimate_and_narrows_with_n() -> None:
    assert paired_interval(3, 8, 100) == pytest.approx(
        tuple(-x for x in reversed(paired_interval(8, 3, 100)))
    )
    assert paired_interval(0, 0, 0) == (-1.0, 1.0)
    assert paired_interval(7, 0, 7)[1] == pytest.approx(1.0)
    low, high = paired_interval(30, 80, 1000)
    assert low < -0.05 < high < 0
    assert high - low < paired_interval(3, 8, 100)[1] - paired_interval(3, 8, 100)[0]
    assert "cannot be" in refusal(lambda: paired_interval(3, 3, 5))
    assert "cannot be" in refusal(lambda: paired_interval(-1, 3, 5))


@pytest.mark.parametrize(
    ("gain", "loss", "n"),
    [(0.01, 0.04, 512), (0.02, 0.02, 256), (0.005, 0.10, 512), (0.05, 0.30, 128)],
)
def test_95_of_100_intervals_contain_the_true_change(gain: float, loss: float, n: int) -> None:
    rng = torch.Generator().manual_seed(0)
    draws = torch.multinomial(
        torch.tensor([gain, loss, 1 - gain - loss]), 3000 * n, True, generator=rng
    ).view(3000, n)
    counts = [((row == 0).sum().item(), (row == 1).sum().item()) for row in draws]
    known = {pair: paired_interval(*pair, n) for pair in set(counts)}
    held = sum(known[pair][0] <= gain - loss <= known[pair][1] for pair in counts) / len(counts)
    assert 0.935 <= held <= 0.975


@pytest.mark.parametrize(
    ("right", "gained", "lost", "n"), [(470, 3, 12, 512), (480, 8, 8, 512), (9300, 60, 140, 10_000)]
)
def test_paired_is_much_narrower_than_two_separate_intervals(
    right: int, gained: int, lost: int, n: int
) -> None:
    low, high = paired_interval(gained, lost, n)
    before = wilson_interval(right, n)
    after = wilson_interval(right + gained - lost, n)
    apart = (after[1] - before[0]) - (after[0] - before[1])  # what the ends of both allow
    newcombe = math.hypot(before[1] - before[0], after[1] - after[0])  # two independent samples
    assert high - low < 0.6 * newcombe < apart


def test_change_counts_images_that_became_right_or_wrong() -> None:
    labels = torch.tensor([0, 1, 0, 1])
    before = summarise(torch.eye(2)[[0, 1, 0, 0]] * 3, labels)
    after = summarise(torch.eye(2)[[0, 0, 1, 1]] * 3, labels)
    found = change(before, after)
    assert (found.gained, found.lost, found.n) == (1, 2, 4)
    assert found.value == after.value - before.value == -0.25
    assert found.interval == paired_interval(1, 2, 4)
    assert not found.certain
    right = torch.zeros(60, dtype=torch.long)
    one = summarise(torch.eye(2)[right], right)
    assert change(one, summarise(torch.eye(2)[1 - right], right)).certain
    assert "sample by sample" in refusal(lambda: change(before, one))


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [
        (
            81,
            263,
            0.25529,
            0.36618,
        ),  # Newcombe 1998, Stat. Med. 17:857, table I, method 3: 0.2553 to 0.3662
        (15, 148, 0.06237, 0.16049),  # the same: 0.0624 to 0.1605
        (0, 20, 0.0, 0.16113),  # the same: 0 to 0.1611
        (1, 29, 0.00611, 0.17177),  # the same: 0.0061 to 0.1718
    ],
)
def test_wilson_gives_the_published_intervals(
    correct: int, n: int, low: float, high: float
) -> None:
    assert wilson_interval(correct, n) == pytest.approx((low, high), abs=1e-4)


def test_wilson_is_symmetric_and_handles_no_images() -> None:
    assert wilson_interval(3, 10) == pytest.approx(
        tuple(1 - x for x in reversed(wilson_interval(7, 10)))
    )
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(5, 5)[1] == 1.0
    assert "6 of 5" in refusal(lambda: wilson_interval(6, 5))
