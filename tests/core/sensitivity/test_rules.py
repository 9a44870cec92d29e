"""Each sensitivity rule gives the ratios of its formula."""

import numpy as np
import pytest

from pruning_core.allocation import total_ratio
from pruning_core.sensitivity.cost_curves import cost_curve
from pruning_core.sensitivity.ratios import ratios_from
from pruning_core.sensitivity.rules import SENSITIVITY_RULES, TARGET_UNITS
from pruning_core.types import Ratios
from tests.core.sensitivity.curves import LAYERS, POWERS, curves, point


def test_equal_loss_costs_every_layer_the_same() -> None:
    """Linear curves: one level means ratios in inverse proportion to slope + tau."""
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


def test_least_loss_has_the_smallest_sum_of_losses() -> None:
    points = curves(
        {name: max(1.5, power) for name, power in POWERS.items()}, np.linspace(0, 1, 21).tolist()
    )
    known = {x.name: cost_curve(points, x.name) for x in LAYERS}

    def total_cost(ratios: Ratios) -> float:
        return sum(
            float(np.interp(ratio, known[name].removed, known[name].cost))
            for name, ratio in ratios.items()
        )

    sums = {
        name: total_cost(ratios_from(points, LAYERS, 0.6, rule))
        for name, rule in SENSITIVITY_RULES.items()
    }
    sums["uniform"] = total_cost(dict.fromkeys(known, 0.6))
    assert sums["least_loss"] == min(sums.values())
    assert sums["least_loss"] < 0.95 * sums["uniform"]


def test_a_target_in_macs_prunes_the_layers_with_most_macs() -> None:
    points = curves(dict.fromkeys(POWERS, 2.0))
    macs = TARGET_UNITS["macs"]
    ratios = ratios_from(points, LAYERS, 0.5, SENSITIVITY_RULES["least_loss"], count=macs)
    assert ratios["fc.weight"] == 0.0
    assert total_ratio(LAYERS, ratios, macs) == pytest.approx(0.5, abs=1e-6)
