"""From sensitivity curves to ratios: four ways to share a target out, none of which follows single images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from pruning_core.allocation import fit, total_ratio, weight_count
from pruning_core.intervals import paired
from pruning_core.types import Layer, PruningError, Ratios, SensitivityPoint

TOLERANCE = 0.005
"""How far from the target the total may end."""
Points = Sequence[SensitivityPoint]
Weigh = Callable[[Layer], int]


def mac_count(layer: Layer) -> int:
    """Multiply-adds per image that read the layer's weight."""
    return layer.macs


WEIGHS: dict[str, Weigh] = {"weights": weight_count, "macs": mac_count}
"""What the target is a share of."""


@dataclass(frozen=True)
class Limits:
    """Bounds of every layer's ratio. multiple: the groups that stay in a scope are a multiple of it, or all stay.

    Raises PruningError for bounds that cannot be.
    """

    least: float = 0.0
    most: float = 1.0
    multiple: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.most <= 1:
            raise PruningError(f"The bounds {self.least} and {self.most} of the ratios must rise and lie in [0, 1].")
        if self.multiple < 1:
            raise PruningError(f"Groups are kept in multiples of at least 1, not {self.multiple}.")


@dataclass(frozen=True, eq=False)
class Curve:
    """What one layer's loss costs. removed: shares actually removed, rising from 0; cost: rising from 0, in the signal's unit."""

    removed: np.ndarray
    cost: np.ndarray

    @property
    def end(self) -> float:
        """The largest share that was measured; 0 where nothing could be removed."""
        return float(self.removed[-1])


Curves = Mapping[str, Curve]


@runtime_checkable
class FromCurves(Protocol):
    """(curves, layers, target, weigh) -> a family of ratios that rises with its level in [0, 1]."""

    @property
    def label(self) -> str: ...

    @property
    def help(self) -> str: ...

    @property
    def formula(self) -> str: ...

    @property
    def source(self) -> str: ...

    @property
    def signal(self) -> str: ...

    def __call__(self, curves: Curves, layers: tuple[Layer, ...], target: float, weigh: Weigh) -> Callable[[float], Ratios]: ...


@dataclass(frozen=True)
class EqualCost:
    """Every layer, alone, costs the same: as far as its own curve stays at or below one common level."""

    label: str
    help: str
    formula: str
    source: str
    signal: str

    def __call__(self, curves: Curves, layers: tuple[Layer, ...], target: float, weigh: Weigh) -> Callable[[float], Ratios]:
        worst = max(float(curve.cost[-1]) for curve in curves.values())
        return lambda u: {name: float(np.interp(u * worst, curve.cost, curve.removed)) for name, curve in curves.items()}


@dataclass(frozen=True)
class DeltaInversion:
    """Ratios in inverse proportion to what each layer costs when it is cut at the target."""

    label: ClassVar[str] = "Inverse cost"
    help: ClassVar[str] = "Ratios in inverse proportion to the loss that each layer adds when it alone is cut at the target."
    formula: ClassVar[str] = "r_l = min(end_l, k / (L_l(target) - L(0) + tau target)); k is bisected until the total is met"
    source: ClassVar[str] = "fasterai (FasterAI-Labs), targets per layer from sensitivities"
    signal: ClassVar[str] = "loss"

    def __call__(self, curves: Curves, layers: tuple[Layer, ...], target: float, weigh: Weigh) -> Callable[[float], Ratios]:
        at = max(target, 0.05)
        found = {name: float(np.interp(at, curve.removed, curve.cost)) for name, curve in curves.items()}
        worst = max(found.values())
        return lambda u: {name: min(curves[name].end, u * worst / cost) if cost else 0.0 for name, cost in found.items()}


@dataclass(frozen=True)
class LeastLoss:
    """The smallest sum of the layers' own losses that meets the target."""

    label: ClassVar[str] = "Least loss in sum"
    help: ClassVar[str] = "Removal goes where it costs the least loss per weight (or per multiply-add), layer against layer."
    formula: ClassVar[str] = "min sum_l L_l(r_l) with sum_l w_l r_l = target, on the curves' lower convex hulls"
    source: ClassVar[str] = "Shoham and Gersho 1988, IEEE Trans. ASSP 36(9), as for the allocation of bits"
    signal: ClassVar[str] = "loss"

    def __call__(self, curves: Curves, layers: tuple[Layer, ...], target: float, weigh: Weigh) -> Callable[[float], Ratios]:
        size = {layer.name: max(1, weigh(layer)) for layer in layers}
        hulls = {name: hull(curve) for name, curve in curves.items()}
        slopes = {name: np.diff(found.cost) / np.diff(found.removed) / size[name] for name, found in hulls.items()}
        prices = np.unique(np.concatenate([*slopes.values(), np.zeros(1)]))

        def family(u: float) -> Ratios:
            price = float(np.interp(u, np.linspace(0, 1, len(prices)), prices))
            taken = {name: int(np.searchsorted(found, price, side="right")) for name, found in slopes.items()}
            return {name: float(hulls[name].removed[count]) for name, count in taken.items()}

        return family


FROM_CURVES: dict[str, FromCurves] = {
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


def ratios_from(
    points: Points, layers: tuple[Layer, ...], target: float, how: FromCurves, *,
    weigh: Weigh = weight_count, limits: Limits | None = None, groups: Mapping[str, int] | None = None,
) -> Ratios:  # fmt: skip
    """Ratios of all layers with a curve, so that the share `target` of what they weigh goes, within `TOLERANCE`,
    or half of the smallest step where whole groups are coarser.

    A layer from which nothing could be removed stays whole, and no layer goes beyond what was measured; layers
    that were cut together get one ratio. groups: how many
    there are per scope, by layer; then the ratios are whole groups, in multiples as the limits ask.
    Raises PruningError without a curve, and where curves, bounds or whole groups cannot meet the target.
    """
    bounds, bundles = limits or Limits(), _bundles(points, layers)
    if not bundles:
        raise PruningError("There is no sensitivity curve for these layers yet: run the scan first.")
    leads = tuple(members[0] for members in bundles.values())
    curves = {name: cost_curve(points, name, how.signal) for name in bundles}

    def heavy(lead: Layer) -> int:
        return sum(map(weigh, bundles[lead.name]))

    family = how(curves, leads, target, heavy)

    def bounded(u: float) -> Ratios:
        return {name: min(max(ratio, bounds.least), bounds.most, curves[name].end) for name, ratio in family(u).items()}

    ratios = fit(leads, target, bounded, heavy)
    _within(total_ratio(leads, ratios, heavy), target, "The curves and bounds", "scan further, or widen the bounds")
    if groups is not None:
        steps = {name: _allowed(groups[name], bounds, curves[name].end) for name in ratios}
        ratios = _whole(leads, ratios, steps, target, heavy)
        reached, step = total_ratio(leads, ratios, heavy), _smallest(leads, steps, heavy)
        _within(reached, target, "Whole groups", "choose another target or a smaller multiple", max(TOLERANCE, step / 2))
    return {layer.name: ratios[lead] for lead, members in bundles.items() for layer in members}


def _bundles(points: Points, layers: tuple[Layer, ...]) -> dict[str, list[Layer]]:
    """The layers with a curve, by the first of those that were cut together with each."""
    group = {p.parameter: p.group or (p.parameter,) for p in points}
    found: dict[tuple[str, ...], list[Layer]] = {}
    for layer in (x for x in layers if x.name in group):
        found.setdefault(group[layer.name], []).append(layer)
    return {members[0].name: members for members in found.values()}


def _smallest(layers: tuple[Layer, ...], steps: Mapping[str, np.ndarray], weigh: Weigh) -> float:
    """The least that one more group changes the total by; nothing nearer than half of it can be asked for."""
    whole = max(1, sum(map(weigh, layers)))
    return min((weigh(x) / whole * float(np.diff(steps[x.name]).min()) for x in layers if len(steps[x.name]) > 1), default=0.0)


def _within(reached: float, target: float, what: str, hint: str, tolerance: float = TOLERANCE) -> None:
    if abs(reached - target) > tolerance + 1e-9:
        raise PruningError(f"{what} give {reached:.1%} in total where {target:.1%} is the target: {hint}.")


def cost_curve(points: Points, name: str, signal: str = "loss") -> Curve:
    """What a layer's removal costs above dense: isotonic in the share removed, plus tau x share.

    tau: the least change that n images tell from none (`intervals.paired` of no change); for the loss x ln 10 nats, what an
    image costs that ends at chance among ten classes. Layers that differ by less get nearly equal ratios.
    Raises PruningError for a curve without the dense network.
    """
    here = [p for p in points if p.parameter == name]
    read, unit = SIGNALS[signal]
    removed, place = np.unique([p.achieved for p in here], return_inverse=True)
    count = np.bincount(place).astype(float)
    mean = np.bincount(place, weights=[read(p) for p in here]) / count
    rising = isotonic(mean, count)
    if removed[0] > 0:
        raise PruningError(f"The curve of {name} has no point without removal: measure the dense network too.")
    least = unit * paired(0, 0, min(p.n for p in here))[1]
    return Curve(removed, rising - rising[0] + least * removed)


SIGNALS: dict[str, tuple[Callable[[SensitivityPoint], float], float]] = {
    "loss": (lambda point: point.loss, log(10)),
    "accuracy": (lambda point: -point.top1, 1.0),
}
"""What is read from a point, rising with damage, and what an image that is lost costs of it."""


def isotonic(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The nearest rising sequence in weighted squares, by pooling adjacent violators (Ayer et al. 1955)."""
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        blocks.append((value, weight, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, u, m), (b, v, n) = blocks[-2:]
            blocks[-2:] = [((a * u + b * v) / (u + v), u + v, m + n)]
    return np.concatenate([np.full(count, value) for value, _, count in blocks])


def hull(curve: Curve) -> Curve:
    """The lower convex hull of a curve, as its corners."""
    kept: list[tuple[float, float]] = []
    for x, y in zip(curve.removed.tolist(), curve.cost.tolist(), strict=True):
        while len(kept) > 1 and _slope(kept[-2], kept[-1]) >= _slope(kept[-1], (x, y)):
            kept.pop()
        kept.append((x, y))
    corners = np.array(kept)
    return Curve(corners[:, 0], corners[:, 1])


def _slope(first: tuple[float, float], second: tuple[float, float]) -> float:
    return (second[1] - first[1]) / (second[0] - first[0])


def _allowed(groups: int, limits: Limits, end: float) -> np.ndarray:
    """The ratios of whole groups that a layer may take, rising; 0 where there is no other."""
    gone = np.arange(groups)
    share = gone / groups
    fits = ((groups - gone) % limits.multiple == 0) | (gone == 0)
    found = share[fits & (share >= limits.least - 1e-9) & (share <= min(limits.most, end) + 1e-9)]
    return found if len(found) else np.zeros(1)


def _whole(layers: tuple[Layer, ...], ratios: Ratios, steps: Mapping[str, np.ndarray], target: float, weigh: Weigh) -> Ratios:
    """Each ratio's nearest whole one; then the steps that move the least, one by one, until the total is well within reach."""
    at = {name: int(np.abs(steps[name] - ratio).argmin()) for name, ratio in ratios.items()}
    size = {layer.name: weigh(layer) / max(1, sum(map(weigh, layers))) for layer in layers}
    error = sum(size[name] * float(steps[name][place]) for name, place in at.items()) - target
    while abs(error) > TOLERANCE / 2:
        moves = []
        for name, place in at.items():
            other = place - 1 if error > 0 else place + 1
            if 0 <= other < len(steps[name]):
                change = size[name] * float(steps[name][other] - steps[name][place])
                if abs(error + change) < abs(error):
                    moves.append((abs(float(steps[name][other]) - ratios[name]), name, other, change))
        if not moves:
            break
        _, name, other, change = min(moves)
        at[name], error = other, error + change
    return {name: float(steps[name][place]) for name, place in at.items()}
