"""Four ways to share a target out, by what removal costs each layer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from pruning_core.allocation import weight_count
from pruning_core.registry import Entry
from pruning_core.sensitivity.cost_curves import Curves, hull
from pruning_core.types import Layer, Ratios

Weigh = Callable[[Layer], int]


def mac_count(layer: Layer) -> int:
    """Multiply-adds per image that read the layer's weight."""
    return layer.macs


WEIGHS: dict[str, Weigh] = {"weights": weight_count, "macs": mac_count}
"""What the target is a share of."""


@runtime_checkable
class SensitivityRule(Entry, Protocol):
    """(curves, layers, target, weigh) -> a family of ratios that rises with its level in [0, 1]."""

    @property
    def signal(self) -> str: ...

    def __call__(
        self, curves: Curves, layers: tuple[Layer, ...], target: float, weigh: Weigh
    ) -> Callable[[float], Ratios]: ...


@dataclass(frozen=True)
class EqualCost:
    """Every layer, alone, costs the same: as far as its own curve stays at or below one common
    level.
    """

    label: str
    help: str
    formula: str
    source: str
    signal: str

    def __call__(
        self, curves: Curves, layers: tuple[Layer, ...], target: float, weigh: Weigh
    ) -> Callable[[float], Ratios]:
        worst = max(float(curve.cost[-1]) for curve in curves.values())
        return lambda u: {
            name: float(np.interp(u * worst, curve.cost, curve.removed))
            for name, curve in curves.items()
        }


@dataclass(frozen=True)
class DeltaInversion:
    """Ratios in inverse proportion to what each layer costs when it is cut at the target."""

    label: ClassVar[str] = "Inverse cost"
    help: ClassVar[str] = (
        "Ratios in inverse proportion to the loss that each layer adds when it alone is cut at the target."
    )
    formula: ClassVar[str] = (
        "r_l = min(end_l, k / (L_l(target) - L(0) + tau target)); k is bisected until the total is met"
    )
    source: ClassVar[str] = "fasterai (FasterAI-Labs), targets per layer from sensitivities"
    signal: ClassVar[str] = "loss"

    def __call__(
        self, curves: Curves, layers: tuple[Layer, ...], target: float, weigh: Weigh
    ) -> Callable[[float], Ratios]:
        at = max(target, 0.05)
        found = {
            name: float(np.interp(at, curve.removed, curve.cost)) for name, curve in curves.items()
        }
        worst = max(found.values())
        return lambda u: {
            name: min(curves[name].end, u * worst / cost) if cost else 0.0
            for name, cost in found.items()
        }


@dataclass(frozen=True)
class LeastLoss:
    """The smallest sum of the layers' own losses that meets the target."""

    label: ClassVar[str] = "Least loss in sum"
    help: ClassVar[str] = (
        "Removal goes where it costs the least loss per weight (or per multiply-add), layer against layer."
    )
    formula: ClassVar[str] = (
        "min sum_l L_l(r_l) with sum_l w_l r_l = target, on the curves' lower convex hulls"
    )
    source: ClassVar[str] = (
        "Shoham and Gersho 1988, IEEE Trans. ASSP 36(9), as for the allocation of bits"
    )
    signal: ClassVar[str] = "loss"

    def __call__(
        self, curves: Curves, layers: tuple[Layer, ...], target: float, weigh: Weigh
    ) -> Callable[[float], Ratios]:
        size = {layer.name: max(1, weigh(layer)) for layer in layers}
        hulls = {name: hull(curve) for name, curve in curves.items()}
        slopes = {
            name: np.diff(found.cost) / np.diff(found.removed) / size[name]
            for name, found in hulls.items()
        }
        prices = np.unique(np.concatenate([*slopes.values(), np.zeros(1)]))

        def family(u: float) -> Ratios:
            price = float(np.interp(u, np.linspace(0, 1, len(prices)), prices))
            taken = {
                name: int(np.searchsorted(found, price, side="right"))
                for name, found in slopes.items()
            }
            return {name: float(hulls[name].removed[count]) for name, count in taken.items()}

        return family


SENSITIVITY_RULES: dict[str, SensitivityRule] = {
    "equal_accuracy": EqualCost(
        "Equal accuracy",
        "Every layer is cut until it alone loses one common amount of accuracy.",
        "r_l = the largest r with A(0) - A_l(r) + tau r <= level; bisected until the total is met",
        "Kuzmin et al. 2019 (AIMET), arXiv:1912.09802",
        "accuracy",
    ),
    "equal_loss": EqualCost(
        "Equal loss",
        "Every layer is cut until it alone raises the loss by one common amount.",
        "r_l = the largest r with L_l(r) - L(0) + tau r <= level; bisected until the total is met",
        "Kuzmin et al. 2019 (AIMET), arXiv:1912.09802, on the loss",
        "loss",
    ),
    "delta_inversion": DeltaInversion(),
    "least_loss": LeastLoss(),
}
