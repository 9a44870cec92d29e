"""Ratios from curves: the target is met, limits and multiples hold, and noise has little effect."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pruning_core.allocation import Allocation, LayerCount, total_ratio, weight_count
from pruning_core.sensitivity.ratios import FromSensitivity, Limits, ratios_from
from pruning_core.sensitivity.rules import (
    SENSITIVITY_RULES,
    TARGET_UNITS,
    SensitivityRule,
)
from pruning_core.types import Layer, Ratios, SensitivityPoint
from tests.core.sensitivity.curves import GRID, GROUPS, LAYERS, POWERS, curves, point
from tests.core.toy import refusal

EVERY_RULE = pytest.mark.parametrize("rule", SENSITIVITY_RULES.values(), ids=SENSITIVITY_RULES)


def noisy(seed: int, n: int = 500) -> list[SensitivityPoint]:
    """Flat curves on n images, in which at most two images turn right or wrong at each point."""
    rng = np.random.default_rng(seed)
    hits = {(name, s): rng.integers(-2, 3) / n if s else 0 for name in POWERS for s in GRID}
    return [point(name, s, 0.1 - hit / 5, 0.9 + hit, n=n) for (name, s), hit in hits.items()]


def largest_difference(first: Ratios, second: Ratios) -> float:
    return max(abs(first[name] - second[name]) for name in first)


@EVERY_RULE
@pytest.mark.parametrize("count", TARGET_UNITS.values(), ids=TARGET_UNITS)
@pytest.mark.parametrize("target", [0.0, 0.05, 0.3, 0.5, 0.7, 0.9, 0.95])
def test_the_target_is_met_and_sensitive_layers_get_smaller_ratios(
    rule: SensitivityRule, count: LayerCount, target: float
) -> None:
    ratios = ratios_from(curves(POWERS), LAYERS, target, rule, count=count)
    assert total_ratio(LAYERS, ratios, count) == pytest.approx(target, abs=1e-6)
    assert all(0 <= ratio <= 0.95 for ratio in ratios.values())
    if count is weight_count:
        assert (
            ratios["stem.weight"] <= ratios["conv.weight"] + 1e-9 <= ratios["point.weight"] + 2e-9
        )


@EVERY_RULE
@pytest.mark.parametrize("target", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("multiple", [1, 2, 4])
def test_whole_groups_meet_limits_multiples_and_the_target(
    rule: SensitivityRule, target: float, multiple: int
) -> None:
    groups = {name: 16 * count for name, count in GROUPS.items()}
    limits = Limits(0.1, 0.9, multiple)
    ratios = ratios_from(curves(POWERS), LAYERS, target, rule, limits=limits, groups=groups)
    assert total_ratio(LAYERS, ratios) == pytest.approx(target, abs=0.005)
    for name, ratio in ratios.items():
        removed = ratio * groups[name]
        assert removed == pytest.approx(round(removed))
        assert (groups[name] - round(removed)) % multiple == 0
        assert 0.1 - 1e-9 <= ratio <= 0.9 + 1e-9


@pytest.mark.parametrize("unit", TARGET_UNITS)
@pytest.mark.parametrize("name", SENSITIVITY_RULES)
def test_from_sensitivity_is_an_allocation_in_whole_groups_of_the_scores(
    name: str, unit: str
) -> None:
    points = tuple(curves(POWERS))
    limits = Limits(maximum=0.9)
    rule = SENSITIVITY_RULES[name]
    scores = {x.name: torch.zeros(2, 8 * x.shape[0]) for x in LAYERS}
    allocation = FromSensitivity(points, name, unit, limits)
    assert isinstance(allocation, Allocation)
    assert (allocation.label, allocation.help) == (rule.label, rule.help)
    assert (allocation.formula, allocation.source) == (rule.formula, rule.source)
    groups = {name: 8 * count for name, count in GROUPS.items()}
    expected = ratios_from(
        points, LAYERS, 0.5, rule, count=TARGET_UNITS[unit], limits=limits, groups=groups
    )
    assert allocation(LAYERS, scores, 0.5) == expected
    assert total_ratio(LAYERS, expected, TARGET_UNITS[unit]) == pytest.approx(0.5, abs=0.005)


@EVERY_RULE
def test_a_layer_that_could_not_be_pruned_gets_ratio_zero(rule: SensitivityRule) -> None:
    """Its curve is flat because nothing could be removed, not because it is robust."""
    unpruned = [point("point.weight", s, 0.1, 0.9, achieved=0.0) for s in GRID]
    points = [*curves({"stem.weight": 1.0, "conv.weight": 2.0}), *unpruned]
    ratios = ratios_from(
        points, LAYERS, 0.15, rule, limits=Limits(minimum=0.05), groups=dict.fromkeys(GROUPS, 64)
    )
    assert ratios["point.weight"] == 0.0
    assert ratios.keys() == {"stem.weight", "conv.weight", "point.weight"}
    assert total_ratio(LAYERS[:3], ratios) == pytest.approx(0.15, abs=0.005)


@pytest.mark.parametrize(
    ("name", "largest"), [("equal_loss", 0.05), ("equal_accuracy", 0.3), ("delta_inversion", 0.05)]
)
def test_noise_has_little_effect_on_ratios_from_flat_curves(name: str, largest: float) -> None:
    """Draws of the noise give nearly equal ratios. A steep curve still gets a small ratio."""
    rule = SENSITIVITY_RULES[name]
    draws = [ratios_from(noisy(seed), LAYERS, 0.5, rule) for seed in range(6)]
    assert max(largest_difference(draws[0], other) for other in draws) < largest
    flat = [p for p in noisy(0) if p.parameter != "conv.weight" or p.sparsity == 0]
    steep = [point("conv.weight", s, 0.1 + 2 * s, 0.9 - 0.8 * s, n=500) for s in GRID]
    ratios = ratios_from([*flat, *steep], LAYERS, 0.5, rule)
    others = [ratio for layer, ratio in ratios.items() if layer != "conv.weight"]
    assert ratios["conv.weight"] < min(others) / 2


def test_layers_pruned_together_get_one_ratio_and_count_together() -> None:
    pair = ("stem.weight", "conv.weight")
    points = [
        replace(p, group=pair if p.parameter in pair else ())
        for p in curves(POWERS | {"conv.weight": 1.0})
    ]
    for rule in SENSITIVITY_RULES.values():
        ratios = ratios_from(points, LAYERS, 0.5, rule, groups=dict.fromkeys(GROUPS, 100))
        assert list(ratios) == [x.name for x in LAYERS]
        assert ratios["stem.weight"] == ratios["conv.weight"]
        assert total_ratio(LAYERS, ratios) == pytest.approx(0.5, abs=0.005)


def test_a_target_that_cannot_be_met_is_refused_in_one_sentence() -> None:
    rule = SENSITIVITY_RULES["equal_loss"]
    points = curves(POWERS)
    assert "run the scan" in refusal(lambda: ratios_from([], LAYERS, 0.5, rule))
    assert "50.0%" in refusal(lambda: ratios_from(curves(POWERS, (0.0, 0.5)), LAYERS, 0.8, rule))
    assert "limits" in refusal(
        lambda: ratios_from(points, LAYERS, 0.8, rule, limits=Limits(maximum=0.7))
    )
    assert "limits" in refusal(
        lambda: ratios_from(points, LAYERS, 0.1, rule, limits=Limits(minimum=0.2))
    )
    assert "Whole groups" in refusal(
        lambda: ratios_from(points, LAYERS, 0.33, rule, groups=dict.fromkeys(GROUPS, 2))
    )
    assert "dense" in refusal(lambda: ratios_from(curves(POWERS, (0.5, 0.9)), LAYERS, 0.5, rule))
    assert "outside [0, 1]" in refusal(lambda: ratios_from(points, LAYERS, 1.2, rule))


def test_wrong_names_layers_and_limits_are_refused_in_one_sentence() -> None:
    points = tuple(curves(POWERS))
    assert "fc.weight" in refusal(lambda: FromSensitivity(points)(LAYERS[:3], {}, 0.5))
    assert "'equal_loss'" in refusal(lambda: FromSensitivity(points, "equal_los"))
    assert "weights, macs" in refusal(lambda: FromSensitivity(points, target_unit="bytes"))
    assert "rise" in refusal(lambda: Limits(0.8, 0.2))
    assert "multiples" in refusal(lambda: Limits(multiple=0))


def test_coarse_groups_end_at_most_half_a_step_from_the_target() -> None:
    """Four equal layers of two groups each change the total by one eighth: 55% becomes 50%."""
    layers = tuple(Layer(name, name, "linear", (2, 8, 1, 1), (2, 8)) for name in "abcd")
    points = [
        SensitivityPoint(
            x.name, "filter", s, s, 1 + s, 1 - s / 2, 100, (0.0, 1.0), -s / 2, (-s / 2, -s / 2)
        )
        for x in layers
        for s in (0.0, 0.5, 0.9)
    ]
    ratios = ratios_from(
        points, layers, 0.55, SENSITIVITY_RULES["equal_loss"], groups=dict.fromkeys("abcd", 2)
    )
    assert sum(ratios.values()) / 4 in (0.5, 0.625)
    assert set(ratios.values()) <= {0.0, 0.5}
