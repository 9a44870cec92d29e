"""Turns sensitivity curves into pruning ratios that together meet a target."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from pruning_core.allocation import LayerCount, fit_ratios, total_ratio, weight_count
from pruning_core.registry import find
from pruning_core.sensitivity.cost_curves import Curves, Points, cost_curve
from pruning_core.sensitivity.rules import (
    SENSITIVITY_RULES,
    TARGET_UNITS,
    SensitivityRule,
)
from pruning_core.types import GroupScores, Layer, PruningError, Ratios, SensitivityPoint

TOLERANCE = 0.005
"""Largest difference between the target and the total that the ratios remove."""
ROUNDING = 1e-9


@dataclass(frozen=True)
class Limits:
    """Limits of every layer's ratio.

    minimum, maximum: of the ratio, in [0, 1].
    multiple: the number of groups that a scope keeps is a multiple of it; a scope that keeps all
    groups is always allowed.

    Raises PruningError for limits that contradict each other.
    """

    minimum: float = 0.0
    maximum: float = 1.0
    multiple: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.minimum <= self.maximum <= 1:
            raise PruningError(
                f"The limits {self.minimum} and {self.maximum} of the ratios must rise "
                "and lie in [0, 1]."
            )
        if self.multiple < 1:
            raise PruningError(f"Groups are kept in multiples of at least 1, not {self.multiple}.")


@dataclass(frozen=True)
class FromSensitivity:
    """An allocation from measured sensitivity curves (`ratios_from`), rounded to whole groups.

    points: of a full scan.
    rule: a name in `SENSITIVITY_RULES`.
    target_unit: a name in `TARGET_UNITS`, what the target is a fraction of.

    Raises PruningError for other names, and when it is called for layers that were not scanned.
    """

    uses_target: ClassVar[bool] = True
    points: tuple[SensitivityPoint, ...]
    rule: str = "equal_accuracy"
    target_unit: str = "weights"
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        find(SENSITIVITY_RULES, self.rule, "sensitivity rule called")
        find(TARGET_UNITS, self.target_unit, "unit of the target called")

    @property
    def label(self) -> str:
        return SENSITIVITY_RULES[self.rule].label

    @property
    def help(self) -> str:
        return SENSITIVITY_RULES[self.rule].help

    @property
    def formula(self) -> str:
        return SENSITIVITY_RULES[self.rule].formula

    @property
    def source(self) -> str:
        return SENSITIVITY_RULES[self.rule].source

    def __call__(self, layers: tuple[Layer, ...], groups: GroupScores, sparsity: float) -> Ratios:
        differing = {point.parameter for point in self.points} ^ {layer.name for layer in layers}
        if self.points and differing:
            raise PruningError(
                f"The curves and the plan have different layers, such as '{min(differing)}': "
                "scan with this plan first."
            )
        return ratios_from(
            self.points,
            layers,
            sparsity,
            SENSITIVITY_RULES[self.rule],
            count=TARGET_UNITS[self.target_unit],
            limits=self.limits,
            groups={layer.name: groups[layer.name].shape[1] for layer in layers},
        )


def ratios_from(
    points: Points,
    layers: tuple[Layer, ...],
    target: float,
    rule: SensitivityRule,
    *,
    count: LayerCount = weight_count,
    limits: Limits | None = None,
    groups: Mapping[str, int] | None = None,
) -> Ratios:
    """Ratios of all layers with a curve that together remove the fraction `target`.

    count: what the target is a fraction of, per layer: weights, or multiply-adds.
    groups: number of groups per scope, by layer. With it the ratios are whole groups, in the
    multiples of the limits; without it they are continuous.
    The total differs from the target by at most `TOLERANCE`; with whole groups by at most half of
    the smallest step, where that is more.

    A layer from which nothing could be removed gets ratio 0. No ratio is above the largest that
    was measured. Layers that were pruned together get one ratio.
    Raises PruningError without a curve, for a target outside [0, 1], and where curves, limits or
    whole groups cannot meet the target.
    """
    problem = _Problem.of(points, layers, rule, count, limits or Limits())
    if not problem.members:
        raise PruningError(
            "There is no sensitivity curve for these layers yet: run the scan first."
        )
    if not 0 <= target <= 1:
        raise PruningError(
            f"A target of {target} is outside [0, 1]: 0 removes nothing, 1 everything."
        )
    ratios = problem.continuous(target, rule)
    if groups is not None:
        ratios = problem.whole_groups(ratios, target, groups)
    return {layer.name: ratios[first] for first, tied in problem.members.items() for layer in tied}


@dataclass(frozen=True, eq=False)
class _Problem:
    """The layers that get ratios. Layers that were pruned together count as one, by the first.

    members: by the first layer's name, all layers pruned together with it.
    """

    members: Mapping[str, list[Layer]]
    curves: Curves
    layer_count: LayerCount
    limits: Limits

    @classmethod
    def of(
        cls,
        points: Points,
        layers: tuple[Layer, ...],
        rule: SensitivityRule,
        count: LayerCount,
        limits: Limits,
    ) -> "_Problem":
        members = _members(points, layers)
        curves = {name: cost_curve(points, name, rule.signal) for name in members}
        return cls(members, curves, count, limits)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The first layer of each entry of `members`."""
        return tuple(tied[0] for tied in self.members.values())

    def count(self, layer: Layer) -> int:
        """The target's unit, summed over the layers pruned together with this one."""
        return sum(map(self.layer_count, self.members[layer.name]))

    def continuous(self, target: float, rule: SensitivityRule) -> Ratios:
        """Ratios within the limits that meet the target. Raises PruningError where none do."""
        family = rule(self.curves, self.layers, target, self.count)

        def limited(level: float) -> Ratios:
            return {
                name: min(
                    max(ratio, self.limits.minimum), self.limits.maximum, self.curves[name].end
                )
                for name, ratio in family(level).items()
            }

        ratios = fit_ratios(self.layers, target, limited, self.count)
        total = total_ratio(self.layers, ratios, self.count)
        hint = "scan to higher sparsities, or widen the limits"
        _check_total(total, target, "The curves and limits", hint)
        return ratios

    def whole_groups(self, ratios: Ratios, target: float, groups: Mapping[str, int]) -> Ratios:
        """The ratios in whole groups. Raises PruningError where their total is too far off."""
        allowed = {
            name: _allowed_ratios(groups[name], self.limits, self.curves[name].end)
            for name in ratios
        }
        rounded = _round_ratios(self._fractions(), ratios, allowed, target)
        total = total_ratio(self.layers, rounded, self.count)
        tolerance = max(TOLERANCE, self._smallest_step(allowed) / 2)
        hint = "choose another target or a smaller multiple"
        _check_total(total, target, "Whole groups", hint, tolerance)
        return rounded

    def _fractions(self) -> dict[str, float]:
        """Each layer's fraction of the sum of `count`."""
        total = max(1, sum(map(self.count, self.layers)))
        return {layer.name: self.count(layer) / total for layer in self.layers}

    def _smallest_step(self, allowed: Mapping[str, Float[np.ndarray, "_r"]]) -> float:
        """The smallest change of the total from one allowed ratio of a layer to the next."""
        fractions = self._fractions()
        steps = (
            fractions[name] * float(np.diff(values).min())
            for name, values in allowed.items()
            if len(values) > 1
        )
        return min(steps, default=0.0)


def _members(points: Points, layers: tuple[Layer, ...]) -> dict[str, list[Layer]]:
    """The layers with a curve, by the first of those that were pruned together."""
    group = {point.parameter: point.group or (point.parameter,) for point in points}
    together: dict[tuple[str, ...], list[Layer]] = {}
    for layer in layers:
        if layer.name in group:
            together.setdefault(group[layer.name], []).append(layer)
    return {tied[0].name: tied for tied in together.values()}


def _check_total(
    total: float, target: float, cause: str, hint: str, tolerance: float = TOLERANCE
) -> None:
    if abs(total - target) > tolerance + ROUNDING:
        raise PruningError(
            f"{cause} give {total:.1%} in total; the target is {target:.1%}: {hint}."
        )


def _allowed_ratios(groups: int, limits: Limits, end: float) -> Float[np.ndarray, "_r"]:
    """The ratios of whole groups that a layer may have, rising; 0 alone where none is allowed.

    end: the largest ratio that was measured.
    """
    removed = np.arange(groups)
    ratios = removed / groups
    multiple = ((groups - removed) % limits.multiple == 0) | (removed == 0)
    above = ratios >= limits.minimum - ROUNDING
    below = ratios <= min(limits.maximum, end) + ROUNDING
    allowed = ratios[multiple & above & below]
    return allowed if len(allowed) else np.zeros(1)


def _round_ratios(
    fractions: Mapping[str, float],
    ratios: Ratios,
    allowed: Mapping[str, Float[np.ndarray, "_r"]],
    target: float,
) -> Ratios:
    """Rounds each ratio to the nearest allowed one, then corrects the total.

    A correction moves one layer to its next allowed ratio. It takes the move that ends nearest to
    the layer's own ratio among those that reduce the error of the total, until the error is at
    most half of `TOLERANCE` or no move reduces it.
    """
    index = {name: int(np.abs(allowed[name] - ratio).argmin()) for name, ratio in ratios.items()}
    error = sum(fractions[name] * float(allowed[name][i]) for name, i in index.items()) - target
    while abs(error) > TOLERANCE / 2:
        moves = []
        for name, i in index.items():
            j = i - 1 if error > 0 else i + 1
            if 0 <= j < len(allowed[name]):
                change = fractions[name] * float(allowed[name][j] - allowed[name][i])
                if abs(error + change) < abs(error):
                    distance = abs(float(allowed[name][j]) - ratios[name])
                    moves.append((distance, name, j, change))
        if not moves:
            break
        _, name, j, change = min(moves)
        index[name] = j
        error = error + change
    return {name: float(allowed[name][i]) for name, i in index.items()}
