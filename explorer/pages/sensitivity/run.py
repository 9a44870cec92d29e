"""A sensitivity scan in the background: its request, its events, and what its curves say."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from explorer.texts.translate import N_, _
from pruning_core.criteria import criterion
from pruning_core.granularity import granularity
from pruning_core.history import Run
from pruning_core.model.coupling.positions import Coupling
from pruning_core.plan import Plan
from pruning_core.repairs import NONE
from pruning_core.sensitivity.preview import Preview, preview_plan
from pruning_core.sensitivity.scan import GRID, scan_plan
from pruning_core.training.journal import Journal
from pruning_core.types import Layer, PruningError, SensitivityPoint
from pruning_core.workspaces import Workspace

PRESETS: dict[str, tuple[int, ...]] = {
    N_("Quick"): (50, 80, 95),
    N_("Standard"): tuple(round(100 * share) for share in GRID if share),
    N_("Fine"): (*range(10, 90, 10), 85, 90, 92, 94, 96, 98),
}
"""Sparsities to measure, in percent. 0, the dense network, is always measured too."""


@dataclass(frozen=True)
class ScanRequest:
    """What to scan.

    grid: sparsities, rising, with 0; layers: names, in the order of measurement; units: how many
    parts are pruned, one at a time; tied: layers with tied channels are pruned together; preview:
    estimate the curves in about a tenth of the time.
    """

    plan: Plan
    grid: tuple[float, ...]
    layers: tuple[str, ...]
    units: int
    tied: bool = False
    preview: bool = False

    @property
    def total(self) -> int:
        """The number of points that it yields."""
        return len(self.layers) * len(self.grid)

    @property
    def measurements(self) -> int:
        """At most how many networks are measured, the dense one included."""
        return self.units * (len(self.grid) - 1) + 1


def settings_of(asked: ScanRequest) -> dict[str, Any]:
    """What the run history keeps of a request besides its plan."""
    return {name: getattr(asked, name) for name in ("grid", "layers", "units", "tied")}


def kept_request(run: Run) -> ScanRequest:
    """The request of a scan in the run history. Raises PruningError where it is not readable."""
    try:
        return request_of(run.read_plan(), run.settings.get("scan"))
    except (KeyError, TypeError, ValueError) as error:
        raise PruningError(
            _("The scan {run} in the history cannot be read.", run=run.id)
        ) from error


def request_of(plan: Plan, own: Any) -> ScanRequest:
    """The request with these `settings_of`. Raises KeyError, TypeError or ValueError."""
    grid = tuple(float(sparsity) for sparsity in own["grid"])
    layers = tuple(str(name) for name in own["layers"])
    return ScanRequest(plan, grid, layers, int(own["units"]), bool(own["tied"]))


def request(
    plan: Plan,
    layers: Sequence[Layer],
    percents: Sequence[int],
    couplings: Sequence[Coupling] | None = None,
) -> ScanRequest:
    """The scan of those layers. N:M has one ratio, so the grid has no effect.

    couplings: the layers of each are pruned together; None: each layer alone.
    """
    fixed = granularity(plan.granularity).fixed_ratio
    grid = (fixed,) if fixed is not None else tuple(share / 100 for share in percents)
    names = tuple(layer.name for layer in layers)
    units = [(name,) for name in names] if couplings is None else [c.layers for c in couplings]
    scanned = [tuple(name for name in names if name in unit) for unit in units]
    return ScanRequest(
        plan,
        tuple(sorted({0.0, *grid})),
        tuple(chain(*scanned)),
        sum(bool(unit) for unit in scanned),
        couplings is not None,
    )


def scan_events(
    asked: ScanRequest, space: Workspace, folder: Path | None = None
) -> Iterator[SensitivityPoint | Preview]:
    """The measured points, layer by layer; of a preview, all curves, again after each round.

    folder: from which an interrupted scan continues (`Journal`).
    """
    if asked.preview:
        yield from preview_plan(asked.plan, space, asked.grid, tied=asked.tied)
        return
    journal = None if folder is None else Journal(folder)
    yield from scan_plan(asked.plan, space, asked.grid, tied=asked.tied, journal=journal)


def same_work(one: ScanRequest, other: ScanRequest) -> bool:
    """Do both requests measure the same?"""
    return replace(one, plan=scanned_plan(one.plan)) == replace(
        other, plan=scanned_plan(other.plan)
    )


def scanned_plan(plan: Plan) -> Plan:
    """The plan with default values wherever the curves do not depend on the value.

    Two plans with equal curves are then equal.
    """
    how = criterion(plan.criterion, plan.seed)
    default = Plan()
    reads = how.needs_data or plan.repair != NONE
    return replace(
        default,
        model=plan.model,
        dataset=plan.dataset,
        criterion=plan.criterion,
        granularity=plan.granularity,
        probe=plan.probe,
        calibration=plan.calibration if reads else default.calibration,
        repair=plan.repair,
        seed=plan.seed if how != criterion(plan.criterion, plan.seed + 1) else default.seed,
    )


def by_layer(points: Sequence[SensitivityPoint]) -> dict[str, tuple[SensitivityPoint, ...]]:
    """Each layer's points, by rising sparsity."""
    curves: dict[str, list[SensitivityPoint]] = {}
    for point in points:
        curves.setdefault(point.parameter, []).append(point)
    return {
        name: tuple(sorted(curve, key=lambda point: point.sparsity))
        for name, curve in curves.items()
    }


def unprunable_layers(points: Sequence[SensitivityPoint]) -> tuple[str, ...]:
    """Layers from which nothing could be removed at any measured sparsity."""
    tried = {
        name: curve
        for name, curve in by_layer(points).items()
        if any(point.sparsity > 0 for point in curve)
    }
    return tuple(
        name for name, curve in tried.items() if all(point.achieved == 0 for point in curve)
    )


def accuracy_alone(curve: Sequence[SensitivityPoint], ratio: float) -> float:
    """The value with this layer alone pruned at a ratio, interpolated between the points."""
    points = sorted(curve, key=lambda point: point.achieved)
    for left, right in pairwise(points):
        if ratio > right.achieved:
            continue
        span = right.achieved - left.achieved
        if span <= 0:
            return left.value
        return left.value + (right.value - left.value) * max(0.0, ratio - left.achieved) / span
    return points[-1].value


def accuracy_lost_alone(
    points: Sequence[SensitivityPoint], near: float = 0.8
) -> tuple[dict[str, float], float]:
    """The value that each layer loses when it alone is pruned, and the sparsity of that.

    The sparsity is the measured one nearest to `near`. Layers without a point there, and layers
    from which nothing could be removed, are left out.
    """
    dense = next(point for point in points if point.sparsity == 0)
    measured = {point.sparsity for point in points if point.sparsity > 0}
    at = min(measured, key=lambda share: (abs(share - near), share), default=0.0)
    pruned = [point for point in points if point.sparsity == at > 0 and not point.no_op]
    return {p.parameter: dense.task.sign * (dense.value - p.value) for p in pruned}, at


def rounded(
    ratios: Mapping[str, float], groups: Mapping[str, int] | None = None
) -> dict[str, float]:
    """Ratios in tenths of a percent, short enough for an address.

    groups: the number of groups per layer; ratios get as many digits as keep these exact.
    """
    return {
        name: round(ratio, max(3, len(str((groups or {}).get(name, 0)))))
        for name, ratio in ratios.items()
    }
