"""Preview of a sensitivity scan: estimates its curves, with bands, in about a tenth of the time.

The dense network is measured on all images. The images are then divided into parts by a systematic
sample (`evaluation.sampling`). The first part measures the end and the middle of every curve. Each
later part measures the points whose bands it narrows most for their work: multiply-adds downstream,
and a cost per node.
A band is the paired 95% interval of the change, narrowed for the systematic sample and limited by
its neighbours' bands: more sparsity does not improve the task's value, except by
`preview_curves.SLACK` or by an improvement that was measured in the same curve.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from pruning_core.evaluation.accuracy import Judge
from pruning_core.granularity import Granularity
from pruning_core.model.coupling.dependent_masks import couplings_for
from pruning_core.model.coupling.positions import Coupling
from pruning_core.pipeline import probe_split
from pruning_core.plan import Plan
from pruning_core.sensitivity.preview_bands import Band
from pruning_core.sensitivity.preview_budget import Budget
from pruning_core.sensitivity.preview_curves import (
    PreviewCurve,
    PreviewPoint,
    by_usefulness,
    make_bands,
)
from pruning_core.sensitivity.preview_measure import PreviewMeasurer
from pruning_core.sensitivity.prune_units import UnitPruner, prune_units
from pruning_core.sensitivity.scan import GRID, check_grid
from pruning_core.tasks.classification import CLASSIFICATION
from pruning_core.tasks.task import Task
from pruning_core.types import GroupScores, Layer, PruningError, Split
from pruning_core.workspaces import Workspace

SHARE = 0.08
"""Default share of the full scan's work. Small runs use a processor less well, so the time comes
to about a tenth.
"""


@dataclass(frozen=True)
class Preview:
    """The bands of all curves after a round.

    evaluations: so far. An evaluation is one image through the network for one point; the dense
    network counts too. full_evaluations: those of the full scan.
    work: the share of the full scan's work so far, estimated.
    share: the share of both that the preview may use.
    """

    bands: tuple[Band, ...]
    evaluations: int
    full_evaluations: int
    work: float
    share: float

    @property
    def evaluation_share(self) -> float:
        """Evaluations so far / evaluations of the full scan."""
        return self.evaluations / self.full_evaluations

    @property
    def progress(self) -> float:
        """The used part of what the preview may use, in [0, 1]."""
        return min(1.0, max(self.evaluation_share, self.work) / self.share) if self.share else 1.0


def preview(
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
    share: float = SHARE,
    seed: int = 0,
) -> Iterator[Preview]:
    """Yields better estimates of all curves after every round of measurements.

    share: it stops when this share of the full scan's evaluations or work is used;
    `preview_budget.FREE_WORK` is always allowed. seed: of the division of the images into parts.
    The other arguments are as in `scan.scan`.
    Closing the generator stops the preview. Raises PruningError for a grid or share outside
    [0, 1], and for a split without images.
    """
    check_grid(grid)
    if not 0 <= share <= 1:
        raise PruningError(f"The share of the full scan must be in [0, 1], not {share}.")
    pruner = UnitPruner(model, layers, g, couplings)
    measurer = PreviewMeasurer(pruner, split, Judge(task, outputs), device, seed)
    units = prune_units(layers, groups, g, couplings, tied=tied)
    curves = [measurer.curve(unit, unit.counts(g, grid)) for unit in units]
    points = [point for curve in curves for point in curve.points.values()]
    budget = Budget(measurer.network, points, measurer.dense.n, share)
    yield from _rounds(measurer, curves, budget, share)


def _rounds(
    measurer: PreviewMeasurer, curves: Sequence[PreviewCurve], budget: Budget, share: float
) -> Iterator[Preview]:
    """Measures on one part of the images after the other, until no point is affordable."""
    for round_index, images in enumerate(measurer.parts):
        wanted = by_usefulness(curves, len(images)) if round_index else _ends_and_middles(curves)
        taken = budget.take(wanted, len(images), round_index)
        if round_index and not taken:
            return
        measurer.measure(curves, taken, images)
        bands = tuple(band for curve in curves for band in make_bands(curve, measurer.dense))
        work = budget.work / budget.full_work
        yield Preview(bands, budget.evaluations, budget.full_evaluations, work, share)


def _ends_and_middles(curves: Sequence[PreviewCurve]) -> list[PreviewPoint]:
    """The last point of every curve, then the middle one of every curve with several points.

    Curves that need no measurement are left out.
    """
    every = (list(curve.points.values()) for curve in curves)
    points = [along for along in every if along and not along[-1].complete]
    ends = [along[-1] for along in points]
    return ends + [along[len(along) // 2] for along in points if len(along) > 1]


def preview_plan(
    plan: Plan,
    space: Workspace,
    grid: Sequence[float],
    *,
    tied: bool = False,
    share: float = SHARE,
    device: torch.device | None = None,
) -> Iterator[Preview]:
    """`preview` with the plan's criterion and granularity, on the probe images.

    tied: layers whose channels are tied are pruned together. Raises PruningError as `scan_plan`,
    and for a plan whose repair changes the network.
    """
    resolved = plan.resolve(space)
    resolved.check_by_hand()
    if resolved.repairing is not None:
        raise PruningError(
            f"A preview cannot repair the pruned networks ({resolved.repair.label}): scan instead, "
            "or set the repair to none."
        )
    space = resolved.space
    g = resolved.granularity
    yield from preview(
        space.model,
        space.layers,
        resolved.scores(),
        g,
        probe_split(plan, space),
        grid=grid,
        task=space.dataset.task,
        outputs=space.dataset.outputs,
        device=device,
        couplings=couplings_for(
            lambda: space.tied, g.removes_outputs, tied=tied, instead="Preview each layer alone."
        ),
        tied=tied,
        share=share,
    )
