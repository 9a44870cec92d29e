"""Ratios from sensitivity curves: the target is met at one common cost; a curve without a cut says nothing."""

from collections.abc import Sequence

import pytest

from pruning_core.allocation import from_sensitivity, total_ratio
from pruning_core.types import SensitivityPoint
from tests.core.toy import LAYERS, layer, refusal


def point(name: str, sparsity: float, top1: float, achieved: float | None = None) -> SensitivityPoint:
    return SensitivityPoint(name, "fine", sparsity, sparsity if achieved is None else achieved, 0.1, top1, 100, (0.0, 1.0))


def curves(power: dict[str, float], grid: Sequence[float] = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0)) -> list[SensitivityPoint]:
    """top1 = 0.9 (1 - s^power): the larger the power, the more robust."""
    return [point(name, s, 0.9 * (1 - s**p)) for name, p in power.items() for s in grid]


POWERS = {"stem.weight": 1.0, "conv.weight": 2.0, "point.weight": 4.0, "fc.weight": 8.0}


@pytest.mark.parametrize("target", [0.0, 0.05, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_sensitivity_ratios_hit_the_target_and_spare_the_sensitive(target: float) -> None:
    ratios = from_sensitivity(curves(POWERS), LAYERS, target)
    assert total_ratio(LAYERS, ratios) == pytest.approx(target, abs=0.005)
    assert list(ratios.values()) == sorted(ratios.values())
    assert all(0 <= ratio <= 1 for ratio in ratios.values())


def test_sensitivity_ratios_cost_every_layer_the_same() -> None:
    """Linear curves that fall to 0.9 - slope: the same level means ratios in inverse proportion to the slopes."""
    points = [
        point(x.name, s, 0.9 - slope * s) for x, slope in zip(LAYERS, (0.8, 0.4, 0.4, 0.2), strict=True) for s in (0.0, 0.5, 1.0)
    ]
    ratios = list(from_sensitivity(points, LAYERS, 0.3).values())
    assert ratios == pytest.approx([ratios[0], 2 * ratios[0], 2 * ratios[0], 4 * ratios[0]], rel=1e-6)


@pytest.mark.parametrize("target", [0.2, 0.5, 0.8])
def test_flat_curves_reach_the_target_too(target: float) -> None:
    """Nothing is lost up to 0.9: the jump from 0 to 0.9 is shared out."""
    points = [point(x.name, s, 0.9 if s < 0.95 else 0.1) for x in LAYERS for s in (0.0, 0.5, 0.9, 1.0)]
    assert total_ratio(LAYERS, from_sensitivity(points, LAYERS, target)) == pytest.approx(target, abs=0.005)


def test_a_layer_that_could_not_be_cut_is_never_the_robust_one() -> None:
    """Its curve is flat because whole groups allowed nothing, not because it does not mind."""
    points = [*curves({"conv.weight": 2.0, "point.weight": 2.0}), *(point("stem.weight", s, 0.9, 0.0) for s in (0.0, 0.5, 0.9))]
    ratios = from_sensitivity(points, LAYERS, 0.5)
    assert ratios["stem.weight"] == 0.0
    assert ratios.keys() == {"stem.weight", "conv.weight", "point.weight"}


def test_curves_are_read_by_what_was_achieved_and_made_monotone() -> None:
    """Accuracy that recovers at 0.8 does not make 0.8 better than 0.4."""
    here = (LAYERS[1],)
    points = [point("conv.weight", s, top1) for s, top1 in ((0.0, 0.9), (0.4, 0.5), (0.8, 0.9), (1.0, 0.1))]
    assert from_sensitivity(points, here, 0.4)["conv.weight"] == pytest.approx(0.4, abs=0.005)
    pair = (layer((4, 4, 1, 1), name="a.weight"), layer((4, 4, 1, 1), name="b.weight"))
    points = [point("a.weight", s, top1) for s, top1 in ((0.0, 0.9), (0.2, 0.5), (0.8, 0.9), (1.0, 0.1))]
    points += [point("b.weight", s, 0.9 - s / 2) for s in (0.0, 0.5, 1.0)]
    assert from_sensitivity(points, pair, 0.45) == pytest.approx({"a.weight": 0.18, "b.weight": 0.72}, abs=0.005)
    few = [point("conv.weight", s, 0.9 - s / 2, achieved) for s, achieved in ((0.0, 0.0), (0.4, 0.25), (0.9, 0.75))]
    assert "75" in refusal(lambda: from_sensitivity(few, here, 0.9))


def test_what_the_curves_cannot_give_is_refused_in_a_sentence() -> None:
    short = curves(POWERS, (0.0, 0.5))
    assert "50.0%" in refusal(lambda: from_sensitivity(short, LAYERS, 0.8))
    assert "run the scan" in refusal(lambda: from_sensitivity([], LAYERS, 0.5))
    assert "run the scan" in refusal(lambda: from_sensitivity(curves({"elsewhere": 1.0}), LAYERS, 0.5))
