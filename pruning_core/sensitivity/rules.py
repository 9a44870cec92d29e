"""Sensitivity rules: they share a target among layers by the cost of pruning each layer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from pruning_core.allocation import LayerCount, weight_count
from pruning_core.registry import Entry
from pruning_core.sensitivity.cost_curves import Curve, Curves, lower_hull
from pruning_core.types import Layer, Ratios

RatioFamily = Callable[[float], Ratios]
"""level in [0, 1] -> ratios; no ratio falls when the level rises."""
LEAST_TARGET = 0.05
"""`DeltaInversion` reads the costs at this ratio where the target is smaller."""


def mac_count(layer: Layer) -> int:
    """Multiply-adds per image that read the layer's weight."""
    return layer.macs


TARGET_UNITS: dict[str, LayerCount] = {"weights": weight_count, "macs": mac_count}
"""What a target may be a fraction of."""


@runtime_checkable
class SensitivityRule(Entry, Protocol):
    """(curves, layers, target, count) -> `RatioFamily`.

    signal: name in `cost_curves.SIGNALS` of what the curves measure.
    The caller finds the level at which the ratios meet the target.
    """

    @property
    def signal(self) -> str: ...

    def __call__(
        self, curves: Curves, layers: tuple[Layer, ...], target: float, count: LayerCount
    ) -> RatioFamily: ...


@dataclass(frozen=True)
class EqualCost:
    """Gives every layer the largest ratio whose cost is at most one common level.

    The cost of a ratio is read from the layer's own curve, where this layer alone is pruned.
    """

    label: str
    help: str
    formula: str
    source: str
    signal: str

    def __call__(
        self, curves: Curves, layers: tuple[Layer, ...], target: float, count: LayerCount
    ) -> RatioFamily:
        highest = max(float(curve.cost[-1]) for curve in curves.values())

        def family(level: float) -> Ratios:
            return {
                name: float(np.interp(level * highest, curve.cost, curve.removed))
                for name, curve in curves.items()
            }

        return family


@dataclass(frozen=True)
class DeltaInversion:
    """Gives ratios in inverse proportion to each layer's cost at the target ratio."""

    label: ClassVar[str] = "Inverse cost"
    help: ClassVar[str] = (
        "Ratios in inverse proportion to the loss that each layer adds when it alone is pruned "
        "to the target."
    )
    formula: ClassVar[str] = (
        "r_l = min(end_l, k / (L_l(target) - L(0) + tau target)); "
        "k is bisected until the total is met"
    )
    source: ClassVar[str] = "fasterai (FasterAI-Labs), targets per layer from sensitivities"
    signal: ClassVar[str] = "loss"

    def __call__(
        self, curves: Curves, layers: tuple[Layer, ...], target: float, count: LayerCount
    ) -> RatioFamily:
        ratio = max(target, LEAST_TARGET)
        costs = {
            name: float(np.interp(ratio, curve.removed, curve.cost))
            for name, curve in curves.items()
        }
        highest = max(costs.values())

        def family(level: float) -> Ratios:
            return {
                name: min(curves[name].end, level * highest / cost) if cost else 0.0
                for name, cost in costs.items()
            }

        return family


@dataclass(frozen=True)
class LeastLoss:
    """Minimises the sum of the losses that the layers add, each pruned alone.

    Every level is a price: a layer is pruned while its loss per weight (or multiply-add) is at
    most the price.
    """

    label: ClassVar[str] = "Least loss in sum"
    help: ClassVar[str] = (
        "Prunes where it adds the least loss per weight (or per multiply-add), "
        "compared over all layers."
    )
    formula: ClassVar[str] = (
        "min sum_l L_l(r_l) with sum_l w_l r_l = target, on the curves' lower convex hulls"
    )
    source: ClassVar[str] = (
        "Shoham and Gersho 1988, IEEE Trans. ASSP 36(9), as for the allocation of bits"
    )
    signal: ClassVar[str] = "loss"

    def __call__(
        self, curves: Curves, layers: tuple[Layer, ...], target: float, count: LayerCount
    ) -> RatioFamily:
        counts = {layer.name: max(1, count(layer)) for layer in layers}
        hulls = {name: lower_hull(curve) for name, curve in curves.items()}
        slopes = {name: _slopes(hull, counts[name]) for name, hull in hulls.items()}
        prices = np.unique(np.concatenate([*slopes.values(), np.zeros(1)]))

        def family(level: float) -> Ratios:
            price = float(np.interp(level, np.linspace(0, 1, len(prices)), prices))
            corners = {
                name: int(np.searchsorted(values, price, side="right"))
                for name, values in slopes.items()
            }
            return {name: float(hulls[name].removed[i]) for name, i in corners.items()}

        return family


def _slopes(hull: Curve, count: int) -> np.ndarray:
    """Cost per unit removed, of each edge of the hull; rising."""
    return np.diff(hull.cost) / np.diff(hull.removed) / count


SENSITIVITY_RULES: dict[str, SensitivityRule] = {
    "equal_accuracy": EqualCost(
        "Equal accuracy",
        "Every layer is pruned until it alone loses one common amount of accuracy, or of the "
        "task's value.",
        "r_l = the largest r with A(0) - A_l(r) + tau r <= level; bisected until the total is met",
        "Kuzmin et al. 2019 (AIMET), arXiv:1912.09802",
        "accuracy",
    ),
    "equal_loss": EqualCost(
        "Equal loss",
        "Every layer is pruned until it alone raises the loss by one common amount.",
        "r_l = the largest r with L_l(r) - L(0) + tau r <= level; bisected until the total is met",
        "Kuzmin et al. 2019 (AIMET), arXiv:1912.09802, on the loss",
        "loss",
    ),
    "delta_inversion": DeltaInversion(),
    "least_loss": LeastLoss(),
}
