"""Divides a grid into jobs: units of work that any worker can do without the others."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import nn

from pruning_core.criteria import criterion
from pruning_core.evaluation.accuracy import Judge, evaluate
from pruning_core.evaluation.partial_forward import PartialForward
from pruning_core.granularity import Granularity, granularity
from pruning_core.model.coupling.dependent_masks import couplings_for
from pruning_core.model.coupling.positions import Coupling
from pruning_core.pipeline import group_scores_of, probe_split
from pruning_core.plan import Plan
from pruning_core.repairs import BoundRepair
from pruning_core.resolved_plan import prunable
from pruning_core.sensitivity.scan import GRID, check_grid, scan
from pruning_core.tasks.classification import CLASSIFICATION
from pruning_core.tasks.task import Task
from pruning_core.tied_layers import tied_parts
from pruning_core.types import Evaluation, GroupScores, Layer, PruningError, SensitivityPoint, Split
from pruning_core.workspaces import Workspace, open_in_worker


@dataclass(frozen=True)
class Grid:
    """The points to measure: layers x sparsities x granularities x criteria.

    sparsities: each in [0, 1]. granularities, criteria: names.
    layers: names; () means every layer that can be pruned.
    tied: layers whose channels are tied are pruned together, by whole filters (`scan.scan`).
    Raises PruningError for an axis without values, and for sparsities outside [0, 1].
    """

    sparsities: tuple[float, ...] = GRID
    granularities: tuple[str, ...] = ("fine",)
    criteria: tuple[str, ...] = ("magnitude_l1",)
    layers: tuple[str, ...] = ()
    tied: bool = False

    def __post_init__(self) -> None:
        if not (self.sparsities and self.granularities and self.criteria):
            raise PruningError(
                "An axis of the grid is empty: name a sparsity, a granularity and a criterion."
            )
        check_grid(self.sparsities)


@dataclass(frozen=True, eq=False)
class Job:
    """One layer, or layers pruned together, at all sparsities, by one criterion and granularity.

    All sparsities share the forward pass up to the layer, so they are one job.
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
    """One measured point. job: the number of its job, from 1 to `jobs`."""

    criterion: str
    point: SensitivityPoint
    job: int
    jobs: int


@dataclass(frozen=True, eq=False)
class JobRunner:
    """Runs jobs on one model and its images; each worker makes one and reuses it.

    outputs: the logits that stand for the classes; None for all. task: gives the value. repairing:
    repairs each pruned network before it is measured.
    """

    model: nn.Module
    layers: tuple[Layer, ...]
    split: Split
    outputs: tuple[int, ...] | None = None
    device: torch.device | None = None
    task: Task = CLASSIFICATION
    repairing: BoundRepair | None = None

    @cached_property
    def dense(self) -> Evaluation:
        """The evaluation of the dense network."""
        return evaluate(
            self.model, self.split, task=self.task, outputs=self.outputs, device=self.device
        )

    @cached_property
    def partial_forward(self) -> PartialForward:
        """The traced network on the images. It reuses the activations of the job before."""
        return PartialForward(
            self.model,
            self.split,
            device=self.device,
            batch_size=self.task.batch_size,
            keep_values=True,
            judge=Judge(self.task, self.outputs),
        )

    def run(self, job: Job, groups: GroupScores) -> list[SensitivityPoint]:
        """The points of a job, by rising sparsity, as `scan.scan` measures them."""
        points = scan(
            self.model,
            self.layers,
            groups,
            granularity(job.granularity),
            self.split,
            grid=job.sparsities,
            task=self.task,
            outputs=self.outputs,
            device=self.device,
            couplings=job.couplings,
            tied=job.tied,
            dense=self.dense,
            partial_forward=self.partial_forward,
            repairing=self.repairing,
        )
        return list(points)


@dataclass(frozen=True, eq=False)
class RunnerSource:
    """Where a worker gets its JobRunner.

    runner: for workers that share this process's memory.
    plan: other workers open the plan's model and data by name; with None they are sent a copy.
    """

    runner: JobRunner
    plan: Plan | None = None

    def for_other_process(self) -> "JobRunner | OpenByName":
        """What to send to a worker in another process."""
        if self.plan is None:
            return replace(self.runner)  # a copy without the cached properties
        return OpenByName(self.plan, self.runner.device)


@dataclass(frozen=True)
class OpenByName:
    """Makes a JobRunner from the names of the plan's model and data."""

    plan: Plan
    device: torch.device | None = None

    def __call__(self) -> JobRunner:
        space = open_in_worker(self.plan.model, self.plan.dataset)
        return job_runner(self.plan, space, self.device)


def job_runner(plan: Plan, space: Workspace, device: torch.device | None = None) -> JobRunner:
    """Runs jobs on the workspace's model and the plan's probe images."""
    split = probe_split(plan, space)
    data = space.dataset
    model = space.with_norms(plan.norms).model
    repairing = plan.resolve(space).repairing
    return JobRunner(model, space.layers, split, data.outputs, device, data.task, repairing)


def make_jobs(grid: Grid, plan: Plan, space: Workspace) -> tuple[Job, ...]:
    """The grid's jobs, ordered by criterion, then granularity, then the layers of the network.

    Raises PruningError for an unknown name, for a criterion and granularity that support none of
    the layers, for a network that cannot be traced for tied layers, and for a plan whose values
    set by hand `prune` would refuse.
    """
    resolved = plan.resolve(space)
    resolved.check_by_hand()
    unknown = sorted(set(grid.layers) - {layer.name for layer in space.layers})
    if unknown:
        raise PruningError(
            f"There is no layer '{unknown[0]}' that can be pruned in {resolved.model}."
        )
    return tuple(
        job
        for criterion_name in grid.criteria
        for name in grid.granularities
        for job in _jobs(grid, plan, space, criterion_name, name)
    )


def _jobs(
    grid: Grid, plan: Plan, space: Workspace, criterion_name: str, name: str
) -> Iterator[Job]:
    """The jobs of one criterion and one granularity."""
    g = granularity(name)
    layers, reasons = prunable(space.layers, g, criterion(criterion_name, plan.seed))
    tied = grid.tied and g.ties_layers
    couplings = couplings_for(lambda: space.tied, g.removes_outputs, tied=tied)
    units = _coupled(layers, couplings) if tied else _parts(layers, g)
    wanted = [unit for unit in units if not grid.layers or set(unit) & set(grid.layers)]
    if not wanted:
        reason = _first_reason(grid, reasons)
        raise PruningError(
            f"No layer of the grid can be pruned by '{name}' with '{criterion_name}': {reason}"
        )
    for unit in wanted:
        own = tuple(coupling for coupling in couplings if set(unit) & set(coupling.layers))
        yield Job(criterion_name, name, unit, grid.sparsities, tied, own)


def _first_reason(grid: Grid, reasons: dict[str, str]) -> str:
    """Why a layer cannot be pruned: one that the grid names, else the network's first."""
    named = (reasons[name] for name in grid.layers if name in reasons)
    return next(named, next(iter(reasons.values()), "it has no layers."))


def _parts(layers: tuple[Layer, ...], g: Granularity) -> list[tuple[str, ...]]:
    """Each layer alone; where whole heads are removed, the layers of one attention together."""
    return [tuple(layer.name for layer in part) for part in tied_parts(layers, g)]


def _coupled(layers: tuple[Layer, ...], couplings: tuple[Coupling, ...]) -> list[tuple[str, ...]]:
    """The layers of each coupling, in the network's order."""
    units = [
        tuple(layer.name for layer in layers if layer.name in coupling.layers)
        for coupling in couplings
    ]
    return [unit for unit in units if unit]


@dataclass(eq=False)
class Scorer:
    """Group scores of jobs, computed in this process for all workers.

    The scores of the last criterion and granularity are cached, because jobs come in their order.
    """

    plan: Plan
    space: Workspace
    _cache: dict[tuple[str, str], GroupScores] = field(default_factory=dict)

    def __call__(self, job: Job) -> GroupScores:
        key = (job.criterion, job.granularity)
        if key not in self._cache:
            plan = replace(
                self.plan,
                criterion=job.criterion,
                granularity=job.granularity,
                overrides=(),
                edits=(),
            )
            self._cache = {key: group_scores_of(plan, self.space)[1]}
        return {name: self._cache[key][name] for name in job.layers}
