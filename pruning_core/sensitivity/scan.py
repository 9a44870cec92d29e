"""Sensitivity scan: prunes one layer at a time over a grid of sparsities and measures the value."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from math import inf, isfinite

import torch
from torch import nn

from pruning_core.evaluation.accuracy import Judge
from pruning_core.evaluation.partial_forward import PartialForward
from pruning_core.granularity import Granularity
from pruning_core.masks import achieved
from pruning_core.model.coupling.dependent_masks import couplings_for
from pruning_core.model.coupling.positions import Coupling
from pruning_core.pipeline import probe_split
from pruning_core.plan import Plan
from pruning_core.repairs import BoundRepair
from pruning_core.sensitivity.points import KeptPoints
from pruning_core.sensitivity.preview_bands import Band
from pruning_core.sensitivity.prune_units import PruneUnit, UnitPruner, prune_units
from pruning_core.tasks import find_task
from pruning_core.tasks.change import change
from pruning_core.tasks.classification import CLASSIFICATION
from pruning_core.tasks.task import Task
from pruning_core.training.journal import Journal
from pruning_core.types import Evaluation, GroupScores, Layer, PruningError, SensitivityPoint, Split
from pruning_core.workspaces import Workspace

GRID = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""The sparsities that a scan measures by default."""
COLUMNS = (
    "parameter",
    "granularity",
    "sparsity",
    "loss",
    "top1",
    "achieved",
    "n",
    "low",
    "high",
    "change",
    "change_low",
    "change_high",
    "group",
    "no_op",
    "why",
    "in_full",
)
"""Columns of the table."""
REPAIRED: str | None = "the repair changes the whole network"
Counts = tuple[PruneUnit, list[tuple[float, int]]]
"""A unit and its `PruneUnit.counts`."""
Score = tuple[Evaluation, Mapping[str, float]]
"""The value of a pruned network, and the fraction of each layer's weights that was removed."""
NUMBERS = COLUMNS[2:12]
TASK_COLUMN = "task"


@dataclass(frozen=True, eq=False)
class _Measured:
    """One pruned network. removed: the fraction of each layer's weights that was removed."""

    score: Evaluation
    removed: Mapping[str, float]
    change: float = 0.0
    interval: tuple[float, float] = (0.0, 0.0)


def scan(
    model: nn.Module,
    layers: tuple[Layer, ...],
    groups: GroupScores,
    g: Granularity,
    split: Split,
    *,
    grid: Sequence[float] = GRID,
    task: Task = CLASSIFICATION,
    outputs: tuple[int, ...] | None = None,
    device: torch.device | None = None,
    couplings: Sequence[Coupling] = (),
    tied: bool = False,
    dense: Evaluation | None = None,
    partial_forward: PartialForward | None = None,
    repairing: BoundRepair | None = None,
    journal: Journal | None = None,
) -> Iterator[SensitivityPoint]:
    """Yields one measured point per layer and sparsity, layer by layer. All other layers are dense.

    Li et al. 2016, arXiv:1608.08710. Interactions between layers are not measured. layers: those
    with group scores are scanned, alone or tied (`prune_units`); others have points with a reason.
    dense, partial_forward: of this model and split, if known. repairing: repairs every pruned
    network before it is measured in a full pass. journal: of an interrupted scan, whose points are
    known. Points equal evaluations with as many threads bit for bit. Raises as `check_grid`.
    """
    check_grid(grid)
    units = prune_units(layers, groups, g, couplings, tied=tied)
    kept = KeptPoints(journal, task, [unit.names for unit in units])
    curves = [(unit, unit.counts(g, grid)) for unit in units[len(kept.units) :]]
    judge = Judge(task, outputs)
    dense = dense or judge.evaluate(model, split, device)
    pruner = UnitPruner(model, layers, g, couplings)
    if repairing is None:
        forward = partial_forward or _forward(model, split, judge, device)
        scores = _scores(curves, pruner, forward, judge)
    else:
        scores = _repaired(curves, pruner, repairing, judge, split, device)
    reason = forward.reason if repairing is None else REPAIRED
    yield from chain.from_iterable(kept.all(_measure(curves, g, scores, dense, reason)))


def check_grid(grid: Sequence[float]) -> None:
    """Raises PruningError for an empty grid and for values outside [0, 1]."""
    if not grid or not all(0 <= s <= 1 for s in grid):
        raise PruningError(f"The sparsity grid {tuple(grid)} must hold values in [0, 1].")


def _forward(
    model: nn.Module, split: Split, judge: Judge, device: torch.device | None
) -> PartialForward:
    size = judge.task.batch_size
    return PartialForward(model, split, device=device, batch_size=size, judge=judge)


def _scores(
    curves: Sequence[Counts], pruner: UnitPruner, forward: PartialForward, judge: Judge
) -> Iterator[Score]:
    """Each pruned network's value, without repair."""
    for parts, removed in pruner.measured(_wanted(curves), forward, judge):
        yield judge.summarise(parts), removed


def _repaired(
    curves: Sequence[Counts],
    pruner: UnitPruner,
    repairing: BoundRepair,
    judge: Judge,
    split: Split,
    device: torch.device | None,
) -> Iterator[Score]:
    """Each pruned network's value after the repair."""
    for unit, counts in _wanted(curves):
        for count in counts:
            masks = pruner.masks(unit, count)
            network = pruner.repaired_copy(masks, repairing)
            yield judge.evaluate(network, split, device), achieved(masks)


def _wanted(curves: Sequence[Counts]) -> list[tuple[PruneUnit, list[int]]]:
    return [(unit, _distinct_counts(curve)) for unit, curve in curves]


def _couplings(space: Workspace, g: Granularity, *, tied: bool) -> tuple[Coupling, ...]:
    instead = "Scan each layer alone."
    return couplings_for(lambda: space.tied, g.removes_outputs, tied=tied, instead=instead)


def _measure(
    curves: Sequence[Counts],
    g: Granularity,
    measurements: Iterator[Score],
    dense: Evaluation,
    in_full: str | None,
) -> Iterator[list[SensitivityPoint]]:
    """The points of every unit. curves: units with `PruneUnit.counts`.

    measurements: value and removed fractions, unit by unit and count by count.
    """
    for unit, curve in curves:
        measured = {0: _Measured(dense, dict.fromkeys(unit.names, 0.0))}
        for count in _distinct_counts(curve):
            pruned, removed = next(measurements)
            versus = change(dense, pruned)
            measured[count] = _Measured(pruned, removed, versus.value, versus.interval)
        yield list(_points(unit, g, curve, measured, in_full))


def _distinct_counts(curve: Sequence[tuple[float, int]]) -> list[int]:
    """Each number of groups above 0 once: equal numbers give equal networks."""
    return list(dict.fromkeys(count for _, count in curve if count))


def _points(
    unit: PruneUnit,
    g: Granularity,
    curve: Sequence[tuple[float, int]],
    measured: Mapping[int, _Measured],
    in_full: str | None,
) -> Iterator[SensitivityPoint]:
    """The points of each layer of the unit."""
    for name in unit.names:
        for sparsity, count in curve:
            result = measured[count]
            yield SensitivityPoint(
                parameter=name,
                granularity=g.name,
                sparsity=sparsity,
                achieved=result.removed[name],
                loss=result.score.loss,
                value=result.score.value,
                n=result.score.n,
                interval=result.score.interval,
                change=result.change,
                change_interval=result.interval,
                group=unit.group,
                why=unit.reason,
                in_full=in_full,
                task=result.score.task,
            )


def to_csv(points: Sequence[SensitivityPoint]) -> str:
    """Tidy table with the columns `COLUMNS`.

    Of another task than classification, `top1` is called `value`, and a last column `task` has the
    task's name.
    group: names separated by spaces. no_op: 1 where nothing was removed at a sparsity above 0.
    in_full: why every point took a full forward pass; empty where it did not.
    """
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    names = {point.task.name for point in points} - {CLASSIFICATION.name}
    table.writerow((*value_column(COLUMNS), TASK_COLUMN) if names else COLUMNS)
    for point in points:
        table.writerow((*_row(point), point.task.name) if names else _row(point))
    return out.getvalue()


def point_dict(point: SensitivityPoint | Band) -> dict[str, object]:
    """A point, or a band of a preview, as JSON values: the value is called as in `to_csv`."""
    raw = {f.name: getattr(point, f.name) for f in fields(point) if f.name != TASK_COLUMN}
    if point.task.name != CLASSIFICATION.name:
        return {**raw, TASK_COLUMN: point.task.name}
    return {"top1" if name == "value" else name: value for name, value in raw.items()}


def value_column(columns: Sequence[str]) -> tuple[str, ...]:
    """The columns of another task than classification: `value` in place of `top1`."""
    return tuple("value" if name == "top1" else name for name in columns)


def _row(point: SensitivityPoint) -> tuple[object, ...]:
    changes = (point.change, *point.change_interval)
    return (
        point.parameter,
        point.granularity,
        f"{point.sparsity:g}",
        f"{point.loss:.6f}",
        f"{point.value:.6f}",
        f"{point.achieved:.9f}",
        point.n,
        *(f"{value:.6f}" for value in (*point.interval, *changes)),
        " ".join(point.group),
        int(point.no_op),
        point.why or "",
        point.in_full or "",
    )


def from_csv(text: str, **only: str) -> tuple[SensitivityPoint, ...]:
    """The points of a scan's table.

    only: column=value; rows with another value are skipped, where the table has the column.
    Raises PruningError for any other table, and where no such row is left.
    """
    table = csv.DictReader(io.StringIO(text), restval="")
    if "value" in (table.fieldnames or ()):
        table.fieldnames = ["top1" if name == "value" else name for name in table.fieldnames or ()]
    if missing := [name for name in COLUMNS if name not in (table.fieldnames or ())]:
        raise PruningError(
            f"The table has no column '{missing[0]}': only the table of a full scan gives ratios."
        )
    try:
        points = tuple(
            _point(row)
            for row in table
            if all(row.get(name, value) == value for name, value in only.items())
        )
    except PruningError:
        raise
    except (csv.Error, ValueError) as error:
        raise PruningError(
            f"Line {table.line_num} of the table is not a line of a scan: {error}."
        ) from error
    if not points:
        wanted = " and ".join(f"{name} {value}" for name, value in only.items())
        raise PruningError(f"The table has no curve of {wanted}.")
    return points


def _point(row: Mapping[str, str]) -> SensitivityPoint:
    """One row of the table. Raises ValueError where a number is missing or out of range."""
    numbers = {name: float(row[name]) for name in NUMBERS}
    if not all(map(isfinite, numbers.values())):
        raise ValueError("a number is not finite")
    if not 0 <= numbers["achieved"] <= 1 <= numbers["n"]:
        raise ValueError("a number is out of its range")
    task = find_task(row.get(TASK_COLUMN) or CLASSIFICATION.name)
    least = -inf if task.low is None else task.low
    most = inf if task.high is None else task.high
    for name in ("top1", "low", "high"):
        if not least <= numbers[name] <= most:
            raise ValueError(f"{numbers[name]:g} is outside the range of the {task.value_label}")
    return SensitivityPoint(
        parameter=row["parameter"],
        granularity=row["granularity"],
        sparsity=numbers["sparsity"],
        achieved=numbers["achieved"],
        loss=numbers["loss"],
        value=numbers["top1"],
        n=int(row["n"]),
        interval=(numbers["low"], numbers["high"]),
        change=numbers["change"],
        change_interval=(numbers["change_low"], numbers["change_high"]),
        group=tuple(row["group"].split()),
        why=row["why"] or None,
        in_full=row["in_full"] or None,
        task=task,
    )


def scan_plan(
    plan: Plan,
    space: Workspace,
    grid: Sequence[float],
    *,
    tied: bool = False,
    device: torch.device | None = None,
    journal: Journal | None = None,
) -> Iterator[SensitivityPoint]:
    """`scan` with the plan's criterion, granularity and repair, on the probe images.

    tied: layers whose channels are tied are pruned together.
    Ratios and groups set by hand in the plan are checked, but not used. Raises PruningError where
    the network cannot be traced for tied layers, and as `ResolvedPlan.check_by_hand`.

    >>> from pruning_core import Plan, open_workspace
    >>> plan = Plan(model="lenet5", dataset="digits", probe=50)
    >>> points = list(scan_plan(plan, open_workspace("lenet5", "digits"), (0.5,)))
    >>> [point.parameter for point in points if point.sparsity == 0.5][:2]
    ['conv1.weight', 'conv2.weight']
    """
    resolved = plan.resolve(space)
    resolved.check_by_hand()
    space = resolved.space
    g = resolved.granularity
    yield from scan(
        space.model,
        space.layers,
        resolved.scores(),
        g,
        probe_split(plan, space),
        grid=grid,
        task=space.dataset.task,
        outputs=space.dataset.outputs,
        device=device,
        tied=tied,
        couplings=_couplings(space, g, tied=tied),
        repairing=resolved.repairing,
        journal=journal,
    )
