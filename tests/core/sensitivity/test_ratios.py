"""Ratios from curves: the target is met, bounds and multiples hold, no-ops stay whole, and single
images decide nothing.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from pruning_core.allocation import Allocation, total_ratio, weight_count
from pruning_core.sensitivity.cost_curves import Curve, cost_curve, hull, isotonic
from pruning_core.sensitivity.ratios import FromSensitivity, Limits, ratios_from
from pruning_core.sensitivity.rules import SENSITIVITY_RULES, WEIGHS, SensitivityRule, Weigh
from pruning_core.types import Layer, Ratios, SensitivityPoint
from tests.core.toy import layer, refusal

GRID = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95)
LAYERS = (
    layer((8, 3, 3, 3), name="stem.weight", is_first=True, macs=200_000),
    layer((16, 8, 3, 3), name="conv.weight", macs=300_000),
    layer((32, 16, 3, 3), name="point.weight", macs=100_000),
    layer((10, 32, 1, 1), name="fc.weight", is_output=True, macs=320),
)
POWERS = dict(zip((x.name for x in LAYERS), (1.0, 2.0, 4.0, 8.0), strict=True))
GROUPS = {x.name: x.shape[0] for x in LAYERS}
EVERY = pytest.mark.parametrize("how", SENSITIVITY_RULES.values(), ids=SENSITIVITY_RULES)


def point(
    name: str, s: float, loss: float, top1: float, achieved: float | None = None, n: int = 1000
) -> SensitivityPoint:
    return SensitivityPoint(
        name, "fine", s, s if achieved is None else achieved, loss, top1, n, (0.0, 1.0)
    )


def curves(powers: dict[str, float], grid: Sequence[float] = GRID) -> list[SensitivityPoint]:
    """loss = 0.1 + 2 s^power, top1 = 0.9 (1 - s^power): the larger the power, the more robust."""
    return [
        point(name, s, 0.1 + 2 * s**p, 0.9 * (1 - s**p)) for name, p in powers.items() for s in grid
    ]


def noisy(seed: int, drop: float = 0.0, n: int = 500) -> list[SensitivityPoint]:
    """Flat curves on n images, but for single images that turn right or wrong."""
    rng = np.random.default_rng(seed)
    hits = {(name, s): rng.integers(-2, 3) / n if s else 0 for name in POWERS for s in GRID}
    return [
        point(name, s, 0.1 - hit / 5 + drop * s, 0.9 + hit - drop * s, n=n)
        for (name, s), hit in hits.items()
    ]


def apart(first: Ratios, second: Ratios) -> float:
    return max(abs(first[name] - second[name]) for name in first)


@EVERY
@pytest.mark.parametrize("weigh", WEIGHS.values(), ids=WEIGHS)
@pytest.mark.parametrize("target", [0.0, 0.05, 0.3, 0.5, 0.7, 0.9, 0.95])
def test_the_target_is_met_and_what_is_delicate_is_spared(
    how: SensitivityRule, weigh: Weigh, target: float
) -> None:
    ratios = ratios_from(curves(POWERS), LAYERS, target, how, weigh=weigh)
    assert total_ratio(LAYERS, ratios, weigh) == pytest.approx(target, abs=1e-6)
    assert all(0 <= ratio <= 0.95 for ratio in ratios.values())
    if weigh is weight_count:
        assert (
            ratios["stem.weight"] <= ratios["conv.weight"] + 1e-9 <= ratios["point.weight"] + 2e-9
        )


@EVERY
@pytest.mark.parametrize("target", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("multiple", [1, 2, 4])
def test_whole_groups_bounds_and_multiples_hold_and_the_target_too(
    how: SensitivityRule, target: float, multiple: int
) -> None:
    many = {name: 16 * count for name, count in GROUPS.items()}
    limits = Limits(0.1, 0.9, multiple)
    ratios = ratios_from(curves(POWERS), LAYERS, target, how, limits=limits, groups=many)
    assert total_ratio(LAYERS, ratios) == pytest.approx(target, abs=0.005)
    for name, ratio in ratios.items():
        gone = ratio * many[name]
        assert gone == pytest.approx(round(gone))
        assert (many[name] - round(gone)) % multiple == 0
        assert 0.1 - 1e-9 <= ratio <= 0.9 + 1e-9


@pytest.mark.parametrize("of", WEIGHS)
@pytest.mark.parametrize("way", SENSITIVITY_RULES)
def test_the_curves_make_an_allocation_whose_whole_groups_are_those_of_the_scores(
    way: str, of: str
) -> None:
    points = tuple(curves(POWERS))
    limits = Limits(most=0.9)
    scores = {x.name: torch.zeros(2, 8 * x.shape[0]) for x in LAYERS}
    how = FromSensitivity(points, way, of, limits)
    assert isinstance(how, Allocation)
    assert (how.label, how.help) == (SENSITIVITY_RULES[way].label, SENSITIVITY_RULES[way].help)
    assert (how.formula, how.source) == (
        SENSITIVITY_RULES[way].formula,
        SENSITIVITY_RULES[way].source,
    )
    many = {name: 8 * count for name, count in GROUPS.items()}
    wanted = ratios_from(
        points, LAYERS, 0.5, SENSITIVITY_RULES[way], weigh=WEIGHS[of], limits=limits, groups=many
    )
    assert how(LAYERS, scores, 0.5) == wanted
    assert total_ratio(LAYERS, wanted, WEIGHS[of]) == pytest.approx(0.5, abs=0.005)


@EVERY
def test_a_layer_that_could_not_be_cut_is_never_the_robust_one(how: SensitivityRule) -> None:
    """Its curve is flat because nothing could be removed, not because it does not mind."""
    idle = [point("point.weight", s, 0.1, 0.9, achieved=0.0) for s in GRID]
    points = [*curves({"stem.weight": 1.0, "conv.weight": 2.0}), *idle]
    ratios = ratios_from(
        points, LAYERS, 0.15, how, limits=Limits(least=0.05), groups=dict.fromkeys(GROUPS, 64)
    )
    assert ratios["point.weight"] == 0.0
    assert ratios.keys() == {"stem.weight", "conv.weight", "point.weight"}
    assert total_ratio(LAYERS[:3], ratios) == pytest.approx(0.15, abs=0.005)


@pytest.mark.parametrize(
    ("name", "most"), [("equal_loss", 0.05), ("equal_accuracy", 0.3), ("delta_inversion", 0.05)]
)
def test_single_images_decide_nothing_where_curves_are_flat(name: str, most: float) -> None:
    """Two draws of the noise give nearly the same ratios, near uniform; curves that really differ
    still decide.
    """
    how = SENSITIVITY_RULES[name]
    draws = [ratios_from(noisy(seed), LAYERS, 0.5, how) for seed in range(6)]
    assert max(apart(draws[0], other) for other in draws) < most
    steep = [*noisy(0), *(point("conv.weight", s, 0.1 + 2 * s, 0.9 - 0.8 * s, n=500) for s in GRID)]
    told = [p for p in steep if p.parameter != "conv.weight" or p.loss > 0.11 or p.sparsity == 0]
    ratios = ratios_from(told, LAYERS, 0.5, how)
    assert (
        ratios["conv.weight"]
        < min(ratio for name, ratio in ratios.items() if name != "conv.weight") / 2
    )


def test_equal_loss_costs_every_layer_the_same() -> None:
    """Linear curves of slopes 0.8, 0.4, 0.4, 0.2: one level means ratios in inverse proportion to
    slope + tau.
    """
    slopes = np.array([0.8, 0.4, 0.4, 0.2])
    points = [
        point(x.name, s, 0.1 + a * s, 0.9, n=10**9)
        for x, a in zip(LAYERS, slopes, strict=True)
        for s in (0.0, 0.5, 1.0)
    ]
    ratios = np.array(
        list(ratios_from(points, LAYERS, 0.2, SENSITIVITY_RULES["equal_loss"]).values())
    )
    assert ratios * slopes == pytest.approx(ratios[0] * slopes[0], rel=1e-6)


def test_inverse_cost_is_in_inverse_proportion_to_the_cost_at_the_target() -> None:
    points = [
        point(x.name, s, 0.1 + a * s * s, 0.9, n=10**9)
        for x, a in zip(LAYERS, (4, 2, 2, 1), strict=True)
        for s in (0.0, 0.3, 1.0)
    ]
    ratios = list(ratios_from(points, LAYERS, 0.3, SENSITIVITY_RULES["delta_inversion"]).values())
    assert ratios == pytest.approx(
        [ratios[0], 2 * ratios[0], 2 * ratios[0], 4 * ratios[0]], rel=1e-5
    )


def test_least_loss_beats_every_other_way_in_the_sum_that_it_minimises() -> None:
    points = curves(
        {name: max(1.5, power) for name, power in POWERS.items()}, np.linspace(0, 1, 21).tolist()
    )
    known = {x.name: cost_curve(points, x.name) for x in LAYERS}

    def cost(ratios: Ratios) -> float:
        return sum(
            float(np.interp(ratio, known[name].removed, known[name].cost))
            for name, ratio in ratios.items()
        )

    sums = {
        name: cost(ratios_from(points, LAYERS, 0.6, how)) for name, how in SENSITIVITY_RULES.items()
    }
    sums["uniform"] = cost(dict.fromkeys(known, 0.6))
    assert sums["least_loss"] == min(sums.values())
    assert sums["least_loss"] < 0.95 * sums["uniform"]


def test_a_target_of_macs_goes_to_the_layers_that_compute_most() -> None:
    alike = curves(dict.fromkeys(POWERS, 2.0))
    ratios = ratios_from(alike, LAYERS, 0.5, SENSITIVITY_RULES["least_loss"], weigh=WEIGHS["macs"])
    assert ratios["fc.weight"] == 0.0
    assert total_ratio(LAYERS, ratios, WEIGHS["macs"]) == pytest.approx(0.5, abs=1e-6)


def test_layers_cut_together_get_one_ratio_and_weigh_as_one() -> None:
    pair = ("stem.weight", "conv.weight")
    points = [
        replace(p, group=pair if p.parameter in pair else ())
        for p in curves(POWERS | {"conv.weight": 1.0})
    ]
    for how in SENSITIVITY_RULES.values():
        ratios = ratios_from(points, LAYERS, 0.5, how, groups=dict.fromkeys(GROUPS, 100))
        assert list(ratios) == [x.name for x in LAYERS]
        assert ratios["stem.weight"] == ratios["conv.weight"]
        assert total_ratio(LAYERS, ratios) == pytest.approx(0.5, abs=0.005)


def test_isotonic_pools_what_falls() -> None:
    assert isotonic(np.array([1.0, 3, 2, 4]), np.ones(4)).tolist() == [1, 2.5, 2.5, 4]
    assert isotonic(np.array([3.0, 2, 1]), np.array([1.0, 1, 2])).tolist() == [1.75] * 3
    rng = np.random.default_rng(0)
    values = rng.normal(size=50)
    fitted = isotonic(values, np.ones(50))
    assert (np.diff(fitted) >= 0).all()
    for _ in range(50):
        other = np.sort(fitted + 0.1 * rng.normal(size=50))
        assert ((fitted - values) ** 2).sum() <= ((other - values) ** 2).sum()


def test_a_curve_is_read_by_what_was_removed_isotonic_from_zero() -> None:
    measured = ((0.0, 0.5, 0.0), (0.4, 0.3, 0.25), (0.5, 0.5, 0.25), (0.9, 1.5, 0.75))
    points = [point("a", s, loss, 0.9, got, n=10**9) for s, loss, got in measured]
    curve = cost_curve(points, "a")
    assert curve.removed.tolist() == [0, 0.25, 0.75]
    assert curve.cost == pytest.approx([0, 0, 1.5 - 1.3 / 3], abs=1e-6)
    assert curve.end == 0.75


def test_the_hull_keeps_the_corners_below() -> None:
    corners = hull(Curve(np.array([0.0, 1, 2, 3]), np.array([0.0, 5, 4, 9])))
    assert (corners.removed.tolist(), corners.cost.tolist()) == ([0, 2, 3], [0, 4, 9])


def test_what_cannot_be_met_is_refused_in_a_sentence() -> None:
    how = SENSITIVITY_RULES["equal_loss"]
    points = curves(POWERS)
    assert "run the scan" in refusal(lambda: ratios_from([], LAYERS, 0.5, how))
    assert "50.0%" in refusal(lambda: ratios_from(curves(POWERS, (0.0, 0.5)), LAYERS, 0.8, how))
    assert "bounds" in refusal(
        lambda: ratios_from(points, LAYERS, 0.8, how, limits=Limits(most=0.7))
    )
    assert "bounds" in refusal(
        lambda: ratios_from(points, LAYERS, 0.1, how, limits=Limits(least=0.2))
    )
    assert "Whole groups" in refusal(
        lambda: ratios_from(points, LAYERS, 0.33, how, groups=dict.fromkeys(GROUPS, 2))
    )
    assert "dense" in refusal(lambda: ratios_from(curves(POWERS, (0.5, 0.9)), LAYERS, 0.5, how))
    assert "outside [0, 1]" in refusal(lambda: ratios_from(points, LAYERS, 1.2, how))
    assert "fc.weight" in refusal(lambda: FromSensitivity(tuple(points))(LAYERS[:3], {}, 0.5))
    assert "'equal_loss'" in refusal(lambda: FromSensitivity(tuple(points), "equal_los"))
    assert "weights, macs" in refusal(lambda: FromSensitivity(tuple(points), of="bytes"))
    assert "rise" in refusal(lambda: Limits(0.8, 0.2))
    assert "multiples" in refusal(lambda: Limits(multiple=0))


def test_coarse_groups_come_as_near_as_they_can() -> None:
    """Four alike layers of two groups each go in steps of an eighth: 55% becomes half."""
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
