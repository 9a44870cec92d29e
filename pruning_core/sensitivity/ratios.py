"""From sensitivity curves to ratios: four ways to share a target out, none of which follows single
images.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pruning_core.allocation import fit, total_ratio, weight_count
from pruning_core.registry import find
from pruning_core.sensitivity.cost_curves import (
    SIGNALS,
    Curve,
    Curves,
    Points,
    cost_curve,
    hull,
    isotonic,
)
from pruning_core.sensitivity.rules import (
    SENSITIVITY_RULES,
    WEIGHS,
    SensitivityRule,
    Weigh,
    mac_count,
)
from pruning_core.types import GroupScores, Layer, PruningError, Ratios, SensitivityPoint

__all__ = [
    "SENSITIVITY_RULES",
    "SIGNALS",
    "WEIGHS",
    "Curve",
    "Curves",
    "FromSensitivity",
    "Limits",
    "Points",
    "SensitivityRule",
    "Weigh",
    "cost_curve",
    "hull",
    "isotonic",
    "mac_count",
    "ratios_from",
]
TOLERANCE = 0.005
"""How far from the target the total may end."""


@dataclass(frozen=True)
class Limits:
    """Bounds of every layer's ratio. multiple: the groups that stay in a scope are a multiple of
    it, or all stay.

    Raises PruningError for bounds that cannot be.
    """

    least: float = 0.0
    most: float = 1.0
    multiple: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.most <= 1:
            raise PruningError(
                f"The bounds {self.least} and {self.most} of the ratios must rise and lie in [0, 1]."
            )
        if self.multiple < 1:
            raise PruningError(f"Groups are kept in multiples of at least 1, not {self.multiple}.")


@dataclass(frozen=True)
class FromSensitivity:
    """The allocation that measured curves make: `ratios_from` in whole groups, as many as have scores.

    way: a name of `SENSITIVITY_RULES`; of: a name of `WEIGHS`, what the target is a share of.
    Raises PruningError for other names, and when called for other layers than were measured.
    """

    points: tuple[SensitivityPoint, ...]
    way: str = "equal_accuracy"
    of: str = "weights"
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        find(SENSITIVITY_RULES, self.way, "way from curves to ratios called")
        find(WEIGHS, self.of, "count that a target can be a share of called")

    @property
    def label(self) -> str:
        return SENSITIVITY_RULES[self.way].label

    @property
    def help(self) -> str:
        return SENSITIVITY_RULES[self.way].help

    @property
    def formula(self) -> str:
        return SENSITIVITY_RULES[self.way].formula

    @property
    def source(self) -> str:
        return SENSITIVITY_RULES[self.way].source

    def __call__(self, layers: tuple[Layer, ...], groups: GroupScores, sparsity: float) -> Ratios:
        strange = {point.parameter for point in self.points} ^ {layer.name for layer in layers}
        if self.points and strange:
            raise PruningError(
                f"The curves and the plan are of different layers, such as '{min(strange)}': scan this plan's."
            )
        counts = {layer.name: groups[layer.name].shape[1] for layer in layers}
        how = SENSITIVITY_RULES[self.way]
        weigh = WEIGHS[self.of]
        return ratios_from(
            self.points, layers, sparsity, how, weigh=weigh, limits=self.limits, groups=counts
        )


def ratios_from(
    points: Points,
    layers: tuple[Layer, ...],
    target: float,
    how: SensitivityRule,
    *,
    weigh: Weigh = weight_count,
    limits: Limits | None = None,
    groups: Mapping[str, int] | None = None,
) -> Ratios:
    """Ratios of all layers with a curve, so that the share `target` of what they weigh goes, within
    `TOLERANCE`, or half of the smallest step where whole groups are coarser.

    A layer from which nothing could be removed stays whole, and no layer goes beyond what was
    measured; layers that were cut together get one ratio. groups: how many there are per scope, by
    layer; then the ratios are whole groups, in multiples as the limits ask. Raises PruningError
    without a curve, for a target outside [0, 1], and where curves, bounds or whole groups cannot
    meet it.
    """
    bounds = limits or Limits()
    bundles = _bundles(points, layers)
    if not bundles:
        raise PruningError(
            "There is no sensitivity curve for these layers yet: run the scan first."
        )
    if not 0 <= target <= 1:
        raise PruningError(
            f"A target of {target} is outside [0, 1]: 0 removes nothing, 1 everything."
        )
    leads = tuple(members[0] for members in bundles.values())
    curves = {name: cost_curve(points, name, how.signal) for name in bundles}

    def heavy(lead: Layer) -> int:
        return sum(map(weigh, bundles[lead.name]))

    family = how(curves, leads, target, heavy)

    def bounded(u: float) -> Ratios:
        return {
            name: min(max(ratio, bounds.least), bounds.most, curves[name].end)
            for name, ratio in family(u).items()
        }

    ratios = fit(leads, target, bounded, heavy)
    _within(
        total_ratio(leads, ratios, heavy),
        target,
        "The curves and bounds",
        "scan further, or widen the bounds",
    )
    if groups is not None:
        steps = {name: _allowed(groups[name], bounds, curves[name].end) for name in ratios}
        ratios = _whole(leads, ratios, steps, target, heavy)
        reached = total_ratio(leads, ratios, heavy)
        step = _smallest(leads, steps, heavy)
        _within(
            reached,
            target,
            "Whole groups",
            "choose another target or a smaller multiple",
            max(TOLERANCE, step / 2),
        )
    return {layer.name: ratios[lead] for lead, members in bundles.items() for layer in members}


def _bundles(points: Points, layers: tuple[Layer, ...]) -> dict[str, list[Layer]]:
    """The layers with a curve, by the first of those that were cut together with each."""
    group = {p.parameter: p.group or (p.parameter,) for p in points}
    found: dict[tuple[str, ...], list[Layer]] = {}
    for layer in (x for x in layers if x.name in group):
        found.setdefault(group[layer.name], []).append(layer)
    return {members[0].name: members for members in found.values()}


def _smallest(layers: tuple[Layer, ...], steps: Mapping[str, np.ndarray], weigh: Weigh) -> float:
    """The least that one more group changes the total by; nothing nearer than half of it can be
    asked for.
    """
    whole = max(1, sum(map(weigh, layers)))
    return min(
        (
            weigh(x) / whole * float(np.diff(steps[x.name]).min())
            for x in layers
            if len(steps[x.name]) > 1
        ),
        default=0.0,
    )


def _within(
    reached: float, target: float, what: str, hint: str, tolerance: float = TOLERANCE
) -> None:
    if abs(reached - target) > tolerance + 1e-9:
        raise PruningError(
            f"{what} give {reached:.1%} in total where {target:.1%} is the target: {hint}."
        )


def _allowed(groups: int, limits: Limits, end: float) -> np.ndarray:
    """The ratios of whole groups that a layer may take, rising; 0 where there is no other."""
    gone = np.arange(groups)
    share = gone / groups
    fits = ((groups - gone) % limits.multiple == 0) | (gone == 0)
    found = share[fits & (share >= limits.least - 1e-9) & (share <= min(limits.most, end) + 1e-9)]
    return found if len(found) else np.zeros(1)


def _whole(
    layers: tuple[Layer, ...],
    ratios: Ratios,
    steps: Mapping[str, np.ndarray],
    target: float,
    weigh: Weigh,
) -> Ratios:
    """Each ratio's nearest whole one; then the steps that move the least, one by one, until the
    total is well within reach.
    """
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
                    moves.append(
                        (abs(float(steps[name][other]) - ratios[name]), name, other, change)
                    )
        if not moves:
            break
        _, name, other, change = min(moves)
        at[name] = other
        error = error + change
    return {name: float(steps[name][place]) for name, place in at.items()}
