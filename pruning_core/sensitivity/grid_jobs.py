"""What a grid asks for, cut into units of work that any worker can do alone."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import nn

from pruning_core.criteria import criterion
from pruning_core.evaluation.accuracy import evaluate
from pruning_core.evaluation.partial_forward import PartialForward
from pruning_core.granularity import Granularity, granularity
from pruning_core.model.coupling.dependent_masks import couplings_for
from pruning_core.model.coupling.positions import Coupling
from pruning_core.pipeline import group_scores_of, probe_split
from pruning_core.plan import Plan
from pruning_core.resolved_plan import prunable
from pruning_core.sensitivity.scan import GRID, scan
from pruning_core.tied_layers import tied_parts
from pruning_core.types import Evaluation, GroupScores, Layer, PruningError, SensitivityPoint, Split
from pruning_core.workspace import Workspace, open_workspace


@dataclass(frozen=True)
class Grid:
    """layer x sparsity x granularity x criterion. layers: names, () for every layer that can be
    cut; sparsities in [0, 1].

    tied: whole filters of layers whose channels are tied go together (`scan.scan`).
    Raises PruningError for an axis with nothing on it.
    """

    sparsities: tuple[float, ...] = GRID
    granularities: tuple[str, ...] = ("fine",)
    criteria: tuple[str, ...] = ("magnitude_l1",)
    layers: tuple[str, ...] = ()
    tied: bool = False

    def __post_init__(self) -> None:
        if not (self.sparsities and self.granularities and self.criteria):
            raise PruningError(
                "The grid has an axis with nothing on it: name a sparsity, a granularity and a criterion."
            )
        if not all(0 <= s <= 1 for s in self.sparsities):
            raise PruningError(f"The sparsity grid {self.sparsities} must hold values in [0, 1].")


@dataclass(frozen=True, eq=False)
class Job:
    """One unit of work: one layer, or layers tied together, at all its sparsities, which share the
    pass down to it.

    couplings: those that hold the layers.
    """

    criterion: str
    granularity: str
    layers: tuple[str, ...]
    sparsities: tuple[float, ...]
    tied: bool = False
    couplings: tuple[Coupling, ...] = ()


@dataclass(frozen=True)
class GridPoint:
    """One measured point. done, of: units of work behind and in all, this one counted."""

    criterion: str
    point: SensitivityPoint
    done: int
    of: int


@dataclass(frozen=True, eq=False)
class JobRunner:
    """What every unit needs, opened once per worker: model and layers, images, which logits stand
    for the classes.
    """

    model: nn.Module
    layers: tuple[Layer, ...]
    split: Split
    outputs: tuple[int, ...] | None = None
    device: torch.device | None = None

    @cached_property
    def dense(self) -> Evaluation:
        """The whole network's score."""
        return evaluate(self.model, self.split, outputs=self.outputs, device=self.device)

    @cached_property
    def replay(self) -> PartialForward:
        """The traced network on the images."""
        return PartialForward(self.model, self.split, device=self.device, goes_on=True)

    def measured(self, job: Job, groups: GroupScores) -> list[SensitivityPoint]:
        """The unit's points, by rising sparsity, as `scan.scan` measures them."""
        return list(
            scan(
                self.model,
                self.layers,
                groups,
                granularity(job.granularity),
                self.split,
                grid=job.sparsities,
                outputs=self.outputs,
                device=self.device,
                couplings=job.couplings,
                tied=job.tied,
                dense=self.dense,
                replay=self.replay,
            )
        )


@dataclass(frozen=True, eq=False)
class RunnerSource:
    """Where a worker gets its bench: the plan's model and data by name, or the bench itself where
    it has none.
    """

    bench: JobRunner
    plan: Plan | None = None

    def opening(self) -> Callable[[], JobRunner] | JobRunner:
        """What is sent to a worker that does not share this memory."""
        return (
            replace(self.bench) if self.plan is None else OpenByName(self.plan, self.bench.device)
        )


@dataclass(frozen=True)
class OpenByName:
    """Opens a plan's bench by name."""

    plan: Plan
    device: torch.device | None = None

    def __call__(self) -> JobRunner:
        return job_runner(
            self.plan, open_workspace(self.plan.model, self.plan.dataset), self.device
        )


def job_runner(plan: Plan, space: Workspace, device: torch.device | None = None) -> JobRunner:
    """The workspace's model and the plan's probe images."""
    return JobRunner(
        space.model, space.layers, probe_split(plan, space), space.dataset.outputs, device
    )


def make_jobs(grid: Grid, plan: Plan, space: Workspace) -> tuple[Job, ...]:
    """The grid's units: criterion by criterion, granularity by granularity, layer by layer in the
    network's order.

    Raises PruningError for a name that no axis has, where a criterion and a granularity can take
    none of the layers, where a network cannot be traced for its tied layers, and for a plan with
    ratios or groups by hand where `prune` would refuse them.
    """
    plan.resolve(space).check_by_hand()
    if strange := sorted(set(grid.layers) - {layer.name for layer in space.layers}):
        raise PruningError(f"There is no layer '{strange[0]}' that can be pruned in {plan.model}.")
    found: list[Job] = []
    for how in grid.criteria:
        for name in grid.granularities:
            g = granularity(name)
            tied = grid.tied and g.ties_layers
            layers, reasons = prunable(space.layers, g, criterion(how, plan.seed))
            able = {layer.name for layer in layers}
            couplings, units = _units(g, tuple(able), space, tied=tied)
            wanted = [unit for unit in units if not grid.layers or set(unit) & set(grid.layers)]
            if not wanted:
                why = next(
                    (reasons[x] for x in grid.layers if x in reasons),
                    next(iter(reasons.values()), "it has no layers."),
                )
                raise PruningError(
                    f"No layer of the grid can be pruned by '{name}' with '{how}': {why}"
                )
            for unit in wanted:
                mine = tuple(c for c in couplings if set(unit) & set(c.layers))
                found.append(Job(how, name, unit, grid.sparsities, tied, mine))
    return tuple(found)


def _units(
    g: Granularity, able: tuple[str, ...], space: Workspace, *, tied: bool
) -> tuple[tuple[Coupling, ...], list[tuple[str, ...]]]:
    """The couplings that a granularity minds, and which of the able layers are cut as one."""
    couplings = couplings_for(space.tied, g.removes_outputs, tied=tied)
    if not tied:
        parts = tied_parts([layer for layer in space.layers if layer.name in able], g)
        return couplings, [tuple(layer.name for layer in part) for part in parts]
    units = [
        tuple(x.name for x in space.layers if x.name in able and x.name in c.layers)
        for c in couplings
    ]
    return couplings, [unit for unit in units if unit]


@dataclass(eq=False)
class Scorer:
    """Group scores for one unit after another; those of one criterion and granularity are made
    once, here, for all workers.
    """

    plan: Plan
    space: Workspace
    _made: dict[tuple[str, str], GroupScores] = field(default_factory=dict)

    def __call__(self, job: Job) -> GroupScores:
        key = (job.criterion, job.granularity)
        if key not in self._made:
            asked = replace(
                self.plan,
                criterion=job.criterion,
                granularity=job.granularity,
                overrides=(),
                edits=(),
            )
            self._made = {key: group_scores_of(asked, self.space)[1]}
        return {name: self._made[key][name] for name in job.layers}
