"""Cost curves: dips are smoothed out, costs rise from zero, and the hull is the lower one."""

import numpy as np
import pytest

from pruning_core.sensitivity.cost_curves import Curve, cost_curve, lower_hull, smooth_dips
from tests.core.sensitivity.curves import point


def pool_adjacent_violators(values: list[float], weights: list[float]) -> list[float]:
    """Isotonic regression by the algorithm of Ayer et al. 1955, as an oracle."""
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values, weights, strict=True):
        blocks.append((value, weight, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, u, m), (b, v, n) = blocks[-2:]
            blocks[-2:] = [((a * u + b * v) / (u + v), u + v, m + n)]
    return [value for value, _, count in blocks for _ in range(count)]


def test_dips_are_pooled_by_their_weights() -> None:
    assert smooth_dips(np.array([1.0, 3, 2, 4]), np.ones(4)).tolist() == [1, 2.5, 2.5, 4]
    assert smooth_dips(np.array([3.0, 2, 1]), np.array([1.0, 1, 2])).tolist() == [1.75] * 3


@pytest.mark.parametrize("seed", range(20))
def test_smoothing_equals_the_pooling_algorithm(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=50)
    weights = rng.integers(1, 500, size=50).astype(float)
    smooth = smooth_dips(values, weights)
    expected = pool_adjacent_violators(values.tolist(), weights.tolist())
    assert smooth == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_no_other_rising_sequence_is_nearer() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=50)
    smooth = smooth_dips(values, np.ones(50))
    assert (np.diff(smooth) >= 0).all()
    for _ in range(50):
        other = np.sort(smooth + 0.1 * rng.normal(size=50))
        assert ((smooth - values) ** 2).sum() <= ((other - values) ** 2).sum()


def test_a_curve_rises_from_zero_over_the_fractions_removed() -> None:
    measured = ((0.0, 0.5, 0.0), (0.4, 0.3, 0.25), (0.5, 0.5, 0.25), (0.9, 1.5, 0.75))
    points = [point("a", s, loss, 0.9, achieved, n=10**9) for s, loss, achieved in measured]
    curve = cost_curve(points, "a")
    assert curve.removed.tolist() == [0, 0.25, 0.75]
    assert curve.cost == pytest.approx([0, 0, 1.5 - 1.3 / 3], abs=1e-6)
    assert curve.end == 0.75


def test_the_hull_keeps_the_lower_corners() -> None:
    corners = lower_hull(Curve(np.array([0.0, 1, 2, 3]), np.array([0.0, 5, 4, 9])))
    assert (corners.removed.tolist(), corners.cost.tolist()) == ([0, 2, 3], [0, 4, 9])
