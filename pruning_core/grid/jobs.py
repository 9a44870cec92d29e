"""What a grid asks for, cut into units of work that any worker can do alone."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from pruning_core.criteria import criterion
from pruning_core.granularity import granularity
from pruning_core.pipeline import Workspace, groups_of, open_workspace, probe_split, prunable
from pruning_core.plan import Plan
from pruning_core.sensitivity import GRID, scan
from pruning_core.types import GroupScores, Layer, PruningError, SensitivityPoint, Split


@dataclass(frozen=True)
class Grid:
    """layer x sparsity x granularity x criterion. layers: names, () for every layer that can be cut; sparsities in [0, 1].

    Raises PruningError for an axis with nothing on it.
    """

    sparsities: tuple[float, ...] = GRID
    granularities: tuple[str, ...] = ("fine",)
    criteria: tuple[str, ...] = ("magnitude_l1",)
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (self.sparsities and self.granularities and self.criteria):
            raise PruningError("The grid has an axis with nothing on it: name a sparsity, a granularity and a criterion.")
        if not all(0 <= s <= 1 for s in self.sparsities):
            raise PruningError(f"The sparsity grid {self.sparsities} must hold values in [0, 1].")


@dataclass(frozen=True)
class Job:
    """One unit of work: one layer at all its sparsities, so that they share the pass down to the layer."""

    criterion: str
    granularity: str
    layer: Layer
    sparsities: tuple[float, ...]


@dataclass(frozen=True)
class GridPoint:
    """One measured point. done, of: units of work behind and in all, this one counted."""

    criterion: str
    point: SensitivityPoint
    done: int
    of: int


@dataclass(frozen=True, eq=False)
class Bench:
    """What every unit needs, opened once per worker: the model, the images, which logits stand for the classes."""

    model: nn.Module
    split: Split
    outputs: tuple[int, ...] | None = None
    device: torch.device | None = None

    def measured(self, job: Job, groups: GroupScores) -> list[SensitivityPoint]:
        """The unit's points, by rising sparsity, as `sensitivity.scan` measures them."""
        return list(
            scan(self.model, (job.layer,), groups, granularity(job.granularity), self.split,
                 grid=job.sparsities, outputs=self.outputs, device=self.device)
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Source:
    """Where a worker gets its bench: the plan's model and data by name, or the bench itself where it has none."""

    bench: Bench
    plan: Plan | None = None

    def opening(self) -> Callable[[], Bench] | Bench:
        """What is sent to a worker that does not share this memory."""
        return self.bench if self.plan is None else Named(self.plan, self.bench.device)


@dataclass(frozen=True)
class Named:
    """Opens a plan's bench by name."""

    plan: Plan
    device: torch.device | None = None

    def __call__(self) -> Bench:
        return bench_of(self.plan, open_workspace(self.plan.model, self.plan.dataset), self.device)


def bench_of(plan: Plan, space: Workspace, device: torch.device | None = None) -> Bench:
    """The workspace's model and the plan's probe images."""
    return Bench(space.model, probe_split(plan, space), space.dataset.outputs, device)


def jobs_of(grid: Grid, plan: Plan, space: Workspace) -> tuple[Job, ...]:
    """The grid's units: criterion by criterion, granularity by granularity, layer by layer in the network's order.

    Raises PruningError for a name that no axis has, and where a criterion and a granularity can take none of the layers.
    """
    if strange := sorted(set(grid.layers) - {layer.name for layer in space.layers}):
        raise PruningError(f"There is no layer '{strange[0]}' that can be pruned in {plan.model}.")
    wanted = tuple(x for x in space.layers if x.name in grid.layers or not grid.layers)
    found = []
    for how in grid.criteria:
        for name in grid.granularities:
            able, reasons = prunable(wanted, granularity(name), criterion(how, plan.seed))
            if not able:
                raise PruningError(f"No layer of the grid can be pruned by '{name}' with '{how}': {next(iter(reasons.values()))}")
            found += [Job(how, name, layer, grid.sparsities) for layer in able]
    return tuple(found)


@dataclass(eq=False)
class Scorer:
    """Group scores for one unit after another; those of one criterion and granularity are made once, here, for all workers."""

    plan: Plan
    space: Workspace
    _made: dict[tuple[str, str], GroupScores] = field(default_factory=dict)

    def __call__(self, job: Job) -> GroupScores:
        key = (job.criterion, job.granularity)
        if key not in self._made:
            asked = replace(self.plan, criterion=job.criterion, granularity=job.granularity, overrides=(), edits=())
            self._made = {key: groups_of(asked, self.space)[1]}
        return {job.layer.name: self._made[key][job.layer.name]}
