"""How much does each layer mind? One at a time is pruned over a grid of sparsities, and accuracy is
measured.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import torch
from torch import nn

from pruning_core.evaluation.accuracy import evaluate, summarise
from pruning_core.evaluation.intervals import change
from pruning_core.evaluation.partial_forward import PartialForward
from pruning_core.granularity import Granularity, granularity
from pruning_core.model.coupling.dependent_masks import couplings_for
from pruning_core.model.coupling.positions import Coupling
from pruning_core.pipeline import group_scores_of, probe_split
from pruning_core.plan import Plan
from pruning_core.sensitivity.prune_units import PruneUnit, UnitPruner, prune_units
from pruning_core.types import Evaluation, GroupScores, Layer, PruningError, SensitivityPoint, Split
from pruning_core.workspace import Workspace

GRID = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
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


@dataclass(frozen=True, eq=False)
class _Measured:
    """One cut. gone: share of each layer's weights that it removes."""

    score: Evaluation
    gone: Mapping[str, float]
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
    outputs: tuple[int, ...] | None = None,
    device: torch.device | None = None,
    couplings: Sequence[Coupling] = (),
    tied: bool = False,
    dense: Evaluation | None = None,
    replay: PartialForward | None = None,
) -> Iterator[SensitivityPoint]:
    """Yields one measured point per layer and sparsity, layer by layer; all others are dense
    (interactions are not seen).

    layers: the network's; those with group scores are scanned. tied (filters only): layers whose
    channels are tied in `couplings` are cut as one, the same channels everywhere, by the mean of
    their scores, and share one curve; one that cannot be cut is not measured and says why. Else
    each is cut alone, and what a residual add or a depthwise convolution brings in its place goes
    on. Removed outputs are silent (`silenced`). Every point equals, bit for bit, an evaluation of
    the model so cut with the same number of threads; only what lies downstream is computed for it
    (`partial_forward`). A sparsity that removes no whole group is measured once, as dense. dense, replay: of
    this model and split, if they are there already. Closing the generator stops it. Raises
    PruningError for a grid outside [0, 1] (after Li et al. 2016, 1608.08710).
    """
    if not grid or not all(0 <= s <= 1 for s in grid):
        raise PruningError(f"The sparsity grid {tuple(grid)} must hold values in [0, 1].")
    curves = [
        (unit, unit.curve(g, grid)) for unit in prune_units(layers, groups, g, couplings, tied=tied)
    ]
    wanted = [
        (unit, list(dict.fromkeys(count for _, count in curve if count))) for unit, curve in curves
    ]
    whole = dense or evaluate(model, split, outputs=outputs, device=device)
    replay = replay or PartialForward(model, split, device=device)
    found = UnitPruner(model, layers, g, couplings).visits(wanted, replay)
    chosen = slice(None) if outputs is None else list(outputs)
    for (unit, curve), (_, counts) in zip(curves, wanted, strict=True):
        known = {0: _Measured(whole, dict.fromkeys(unit.names, 0.0))}
        for count in counts:
            logits, gone = next(found)
            score = summarise(logits[:, chosen], split.labels)
            versus = change(whole, score, split.labels)
            known[count] = _Measured(score, gone, versus.value, versus.interval)
        yield from _points(unit, g, curve, known, replay.reason)


def _points(
    unit: PruneUnit,
    g: Granularity,
    curve: Sequence[tuple[float, int]],
    known: Mapping[int, _Measured],
    in_full: str | None,
) -> Iterator[SensitivityPoint]:
    """The points of each layer of the unit."""
    for name in unit.names:
        for ratio, count in curve:
            at = known[count]
            s = at.score
            yield SensitivityPoint(
                name,
                g.name,
                ratio,
                at.gone[name],
                s.loss,
                s.top1,
                s.n,
                s.interval,
                at.change,
                at.interval,
                unit.group,
                unit.why,
                in_full,
            )


def to_csv(points: Sequence[SensitivityPoint]) -> str:
    """Tidy table with the columns of `COLUMNS`; group: names separated by spaces; no_op: 1 where
    nothing was removed; in_full: why all was computed in full, empty where it was not.
    """
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(COLUMNS)
    for p in points:
        numbers = (p.loss, p.top1, p.achieved), p.interval, (p.change, *p.change_interval)
        loss, top1, _, low, high, *change_ = (f"{value:.6f}" for part in numbers for value in part)
        row = (
            p.parameter,
            p.granularity,
            f"{p.sparsity:g}",
            loss,
            top1,
            f"{p.achieved:.9f}",
            p.n,
            low,
            high,
            *change_,
        )
        table.writerow((*row, " ".join(p.group), int(p.no_op), p.why or "", p.in_full or ""))
    return out.getvalue()


def from_csv(text: str, **only: str) -> tuple[SensitivityPoint, ...]:
    """The points of a scan's table. only: what a column must hold for a row to be read, where the
    table has the column.

    Raises PruningError for any other table, and where it has no such row.
    """
    table = csv.DictReader(io.StringIO(text), restval="")
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
    except (csv.Error, ValueError) as error:
        raise PruningError(
            f"Line {table.line_num} of the table is none that a scan writes: {error}."
        ) from error
    if not points:
        raise PruningError(
            f"The table has no curve of {' and '.join(f'{name} {value}' for name, value in only.items())}."
        )
    return points


def _point(row: Mapping[str, str]) -> SensitivityPoint:
    """One row of the table. Raises ValueError for what is no point."""
    found = {name: float(row[name]) for name in COLUMNS[2:12]}
    if not all(map(isfinite, found.values())) or not 0 <= found["achieved"] <= 1 <= found["n"]:
        raise ValueError("a number is out of its range")
    return SensitivityPoint(
        row["parameter"],
        row["granularity"],
        found["sparsity"],
        found["achieved"],
        found["loss"],
        found["top1"],
        int(row["n"]),
        (found["low"], found["high"]),
        found["change"],
        (found["change_low"], found["change_high"]),
        tuple(row["group"].split()),
        row["why"] or None,
        row["in_full"] or None,
    )


def scan_plan(
    plan: Plan,
    space: Workspace,
    grid: Sequence[float],
    *,
    tied: bool = False,
    device: torch.device | None = None,
) -> Iterator[SensitivityPoint]:
    """The sensitivity scan of the plan's criterion and granularity on the probe images (`scan.scan`).

    tied: layers whose channels are tied are cut as one. Raises PruningError where the network
    cannot be traced for that, and as `ResolvedPlan.check_by_hand`, though a scan's own ratios take the place of
    the plan's.

    >>> from pruning_core import Plan, open_workspace
    >>> plan = Plan(model="lenet5", dataset="digits", probe=50)
    >>> points = list(scan_plan(plan, open_workspace("lenet5", "digits"), (0.5,)))
    >>> [point.parameter for point in points if point.sparsity == 0.5][:2]
    ['conv1.weight', 'conv2.weight']
    """
    plan.resolve(space).check_by_hand()
    _, groups = group_scores_of(plan, space)
    yield from scan(
        space.model,
        space.layers,
        groups,
        granularity(plan.granularity),
        probe_split(plan, space),
        grid=grid,
        outputs=space.dataset.outputs,
        device=device,
        tied=tied,
        couplings=couplings_for(
            space.tied,
            granularity(plan.granularity).removes_outputs,
            tied=tied,
            instead="Scan each layer alone.",
        ),
    )
