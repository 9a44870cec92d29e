"""A scan's curves in a tenth of its time: measured where it tells most for its work, with bands
that say how far to trust.
"""

import csv
import io
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, inf, sqrt

import numpy as np
import torch
from jaxtyping import Int8
from torch import nn
from torch.fx.node import Node

from pruning_core.evaluation.accuracy import summarise
from pruning_core.evaluation.partial_forward import PartialForward
from pruning_core.evaluation.sampling import similarity_order, subsample_interval, systematic_parts
from pruning_core.granularity import Granularity, granularity
from pruning_core.model.coupling.dependent_masks import couplings_for
from pruning_core.model.coupling.positions import Coupling
from pruning_core.pipeline import group_scores_of, probe_split
from pruning_core.plan import Plan
from pruning_core.sensitivity.cost_curves import smooth_dips
from pruning_core.sensitivity.prune_units import PruneUnit, UnitPruner, prune_units
from pruning_core.sensitivity.scan import GRID
from pruning_core.types import GroupScores, Layer, PruningError, Split
from pruning_core.workspace import Workspace

PARTS = 10
"""Parts that the images are cut into: a round measures on one, which no round before had."""
ROUNDS = 3
"""Rounds that share the budget."""
SLACK = 0.01
"""How far accuracy may rise with sparsity in curves that were not seen rising."""
BATCH = 256  # images of a pass, as in the full scan
NODE = 3e6
TRACE = 5.0
FREE = 2e10
"""Multiply-adds: of running a node at all (60 us where a second does 5e10); times that, of tracing
it; always free (0.4 s).
"""
SHARE = 0.08
"""Of the full scan's work: small runs use a processor less well, so that it comes to about a tenth
of the time.
"""

BAND_COLUMNS = (
    "parameter",
    "granularity",
    "sparsity",
    "top1",
    "low",
    "high",
    "achieved",
    "images",
    "n",
    "group",
    "in_full",
)
"""Columns of the table."""


@dataclass(frozen=True)
class Band:
    """One point of a curve before it is fully measured. top1: the best guess; interval: where the
    full scan should find it.

    images: on how many of the n it was measured so far, 0 where it is read between its neighbours;
    the rest as in `SensitivityPoint`.
    """

    parameter: str
    granularity: str
    sparsity: float
    achieved: float
    top1: float
    interval: tuple[float, float]
    images: int
    n: int
    group: tuple[str, ...] = ()
    why: str | None = None
    in_full: str | None = None

    @property
    def no_op(self) -> bool:
        """Was something asked for and nothing removed?"""
        return self.sparsity > 0 and self.achieved == 0


@dataclass(frozen=True)
class Preview:
    """All curves so far. spent, full: evaluations (one image through the network for one point; the
    dense network counts too) so far, and of the full scan; work: the share of the full scan's
    work so far, estimated; share: how much of both is allowed.
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
        """The share of what is allowed that is used, in [0, 1]."""
        return min(1.0, max(self.evaluation_share, self.work) / self.share) if self.share else 1.0


def preview(
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
    share: float = SHARE,
    seed: int = 0,
) -> Iterator[Preview]:
    """Yields ever better curves of all layers and sparsities, until `share` of the full scan's
    evaluations or work is used.

    `FREE` work is always allowed. The dense network is measured on all images, which are then drawn
    evenly into parts (`sampling`). The first part measures every curve's end and middle; each later
    one, in one walk through the network, the points whose bands it narrows most for their work
    (multiply-adds downstream, and a cost per node). A band is the paired interval of the change,
    narrowed for an even draw, cut by its neighbours': more sparsity never helps, but for `SLACK`
    and what was seen to rise in that curve. Arguments as in `scan.scan`; seed: of the parts.
    Closing the generator stops it. Raises PruningError for a grid or share outside [0, 1], and for
    no images.
    """
    if not grid or not all(0 <= s <= 1 for s in (*grid, share)):
        raise PruningError(
            f"The sparsity grid {tuple(grid)} and the share {share} must lie in [0, 1]."
        )
    bench = _Bench(UnitPruner(model, layers, g, couplings), split, outputs, device, seed)
    curves = [
        bench.curve(unit, unit.curve(g, grid))
        for unit in prune_units(layers, groups, g, couplings, tied=tied)
    ]
    points = [list(curve.points.values()) for curve in curves if curve.points]
    purse = _Purse(
        bench.whole, [point.below for along in points for point in along], len(split), share
    )
    first = [along[-1] for along in points] + [
        along[len(along) // 2] for along in points if len(along) > 1
    ]
    for turn, places in enumerate(bench.parts):
        wanted = _narrowing(curves, len(places)) if turn else first
        todo = purse.pay(wanted, len(places), turn)
        if turn and not todo:
            return
        bench.measure(curves, todo, places)
        told = tuple(band for curve in curves for band in _told(curve, bench))
        yield Preview(told, purse.evaluations, purse.full, purse.work / purse.full_work, share)


def preview_plan(
    plan: Plan,
    space: Workspace,
    grid: Sequence[float],
    *,
    tied: bool = False,
    share: float = SHARE,
    device: torch.device | None = None,
) -> Iterator[Preview]:
    """The preview of `scan.scan_plan`: the plan's criterion and granularity on the probe images.

    tied: layers with tied channels are cut as one. Raises PruningError as `scan.scan_plan`.
    """
    plan.resolve(space).check_by_hand()
    _, groups = group_scores_of(plan, space)
    couplings = couplings_for(
        space.tied,
        granularity(plan.granularity).removes_outputs,
        tied=tied,
        instead="Preview each layer alone.",
    )
    yield from preview(
        space.model,
        space.layers,
        groups,
        granularity(plan.granularity),
        probe_split(plan, space),
        grid=grid,
        outputs=space.dataset.outputs,
        device=device,
        couplings=couplings,
        tied=tied,
        share=share,
    )


@dataclass(frozen=True)
class _Pass:
    """Some nodes of the network. macs: their multiply-adds for one image."""

    macs: int
    nodes: int

    def work(self, images: int, trace: float = 0.0) -> float:
        """In multiply-adds: what a node costs however few the images, and to trace, counts too."""
        return self.macs * images + NODE * self.nodes * (ceil(images / BATCH) + trace)


@dataclass(eq=False)
class _Point:
    """One cut. below: what is computed again for it; change: top-1 against dense on the images
    measured, and its interval; right: of each image in the bench's order, 1 where it became
    right, -1 where wrong; seen: was it measured?
    """

    below: _Pass
    right: Int8[np.ndarray, " n"]
    seen: np.ndarray
    images: int = 0
    change: float = 0.0
    interval: tuple[float, float] = (-1.0, 1.0)

    def add(self, places: np.ndarray, right: np.ndarray) -> None:
        """Measured on more images."""
        self.right[places] = right
        self.seen[places] = True
        known = self.right[self.seen]
        self.images = len(known)
        self.change = float(known.mean())
        self.interval = subsample_interval(known, len(self.seen))


@dataclass(eq=False)
class _Curve:
    """One unit's points by the number of groups that go, rising. gone: share of each layer's
    weights that goes.
    """

    unit: PruneUnit
    asked: list[tuple[float, int]]
    gone: dict[int, dict[str, float]]
    points: dict[int, _Point]

    def measured(self) -> dict[int, _Point]:
        """The points with images."""
        return {count: point for count, point in self.points.items() if point.images}

    def bands(self) -> dict[int, tuple[float, float]]:
        """Each point's change: its own interval cut by its neighbours'; by theirs alone where it
        was not measured.
        """
        own = {count: point.interval for count, point in self.measured().items()}
        before = {0: (0.0, 0.0)} | own
        guess = [point.change for point in self.measured().values()]
        slack = max(
            [SLACK, *(later - guess[k] for k in range(len(guess)) for later in guess[k + 1 :])]
        )
        found = {}
        for count in self.points:
            lows = [
                low - (slack if other > count else 0)
                for other, (low, _) in own.items()
                if other >= count
            ]
            highs = [
                high + (slack if other < count else 0)
                for other, (_, high) in before.items()
                if other <= count
            ]
            low = max([-1.0, *lows])
            high = min([1.0, *highs])
            found[count] = (low, high) if low <= high else own.get(count, (high, low))
        return found


class _Purse:
    """What may be spent and what is: evaluations, and work. whole: all nodes; below: what each
    point computes again.
    """

    def __init__(self, whole: _Pass, below: Sequence[_Pass], n: int, share: float) -> None:
        self._whole = whole
        self.full = n * (1 + len(below))
        self.full_work = (
            whole.work(n) + whole.work(n, TRACE) + sum(nodes.work(n) for nodes in below)
        )
        self._most = max(n, round(share * self.full))
        self._most_work = max(share * self.full_work, FREE)
        self.evaluations = n
        self.work = whole.work(n, TRACE)

    def pay(self, wanted: Sequence[_Point], images: int, turn: int) -> list[_Point]:
        """The wanted points, the first ones first, that can be had on so many images in one walk
        through the network.

        The first round takes the work it needs; each later one its part of what is left.
        """
        part = 1 / max(1, ROUNDS - turn) if turn else 1.0
        most = self.evaluations + part * (self._most - self.evaluations)
        room = part * (self._most_work - self.work) if turn else inf
        todo = list[_Point]()
        cost = self._whole.work(images)
        for point in wanted:
            more = point.below.work(images)
            if cost + more <= room and self.evaluations + images <= most:
                todo.append(point)
                cost = cost + more
                self.evaluations = self.evaluations + images
        self.work += cost if todo else 0.0
        return todo


class _Bench:
    """The images in an order in which neighbours are alike, in parts; the dense network's answers;
    where points are measured.
    """

    def __init__(
        self,
        cuts: UnitPruner,
        split: Split,
        outputs: tuple[int, ...] | None,
        device: torch.device | None,
        seed: int,
    ) -> None:
        self.cuts = cuts
        self._device = device
        self.n = len(split)
        self._chosen = slice(None) if outputs is None else list(outputs)
        replay = PartialForward(cuts.model, split, device=device, batch_size=BATCH)
        ((_, _, found),) = replay.visits([()], lambda _: [{}])
        logits = found[:, self._chosen]
        self.top1 = summarise(logits, split.labels).top1
        order = similarity_order(logits, split.labels)
        self._split = split.subset(order)
        self._dense = logits.argmax(1)[order] == split.labels[order]
        self.parts = systematic_parts(self.n, PARTS, seed)
        self.in_full = replay.reason
        self._known = replay.forward
        program = replay.forward.program
        macs = {id(program.tensor(layer.name)): layer.macs for layer in cuts.layers}
        self._macs = {
            node: sum(macs.get(read, 0) for read in program.reads(node)) for node in program.nodes
        }
        self.whole = self._pass(program.nodes)

    def _pass(self, nodes: Collection[Node]) -> _Pass:
        return _Pass(sum(self._macs[node] for node in nodes), len(nodes))

    def curve(self, unit: PruneUnit, asked: list[tuple[float, int]]) -> _Curve:
        """The unit's curve, of which nothing is measured yet."""
        gone = {count: self.cuts.gone(unit, count) for _, count in asked}
        below = (
            self._pass(self._known.program.downstream(self.cuts.masks(unit, max(gone))))
            if any(gone)
            else self.whole
        )
        points = {
            count: _Point(below, np.zeros(self.n, np.int8), np.zeros(self.n, bool))
            for count in gone
            if count
        }
        return _Curve(unit, asked, gone, points)

    def measure(
        self, curves: Sequence[_Curve], todo: Collection[_Point], places: np.ndarray
    ) -> None:
        """Measures those points on the images at those places, in one walk."""
        wanted = [
            (curve.unit, [count for count, point in curve.points.items() if point in todo])
            for curve in curves
        ]
        split = self._split.subset(places.tolist())
        dense = self._dense[places].int()
        replay = PartialForward(
            self.cuts.model, split, device=self._device, batch_size=BATCH, known=self._known
        )
        points = (point for curve in curves for point in curve.points.values() if point in todo)
        for point, (logits, _) in zip(points, self.cuts.visits(wanted, replay), strict=True):
            right = (logits[:, self._chosen].argmax(1) == split.labels).int()
            point.add(places, (right - dense).numpy())
        self._known = replay.forward


def _narrowing(curves: Sequence[_Curve], images: int) -> list[_Point]:
    """The points by how much narrower so many more images should make their bands for the work, the
    most first.

    A band narrows with the root of its images; one of no images becomes as wide as any on so many,
    2 / sqrt(images), at most.
    """
    found = []
    for curve in curves:
        for count, (low, high) in curve.bands().items():
            point = curve.points[count]
            width = high - low
            after = (
                width * sqrt(point.images / (point.images + images))
                if point.images
                else min(width, 2 / sqrt(images))
            )
            found.append(((width - after) / point.below.work(images), point))
    return [point for _, point in sorted(found, key=lambda pair: -pair[0])]


def _told(curve: _Curve, bench: _Bench) -> Iterator[Band]:
    """The curve's points as they are shown; the guess falls with sparsity and is read linearly
    between those measured.
    """
    seen = curve.measured()
    weights = [bench.n, *(point.images for point in seen.values())]
    falling = -smooth_dips(
        -np.array([0.0, *(point.change for point in seen.values())]), np.array(weights, dtype=float)
    )
    bands = {0: (0.0, 0.0)} | curve.bands()
    for name in curve.unit.names:
        for sparsity, count in curve.asked:
            low, high = (min(1.0, max(0.0, bench.top1 + end)) for end in bands[count])
            guess = min(high, max(low, bench.top1 + float(np.interp(count, [0, *seen], falling))))
            images = curve.points[count].images if count else bench.n
            facts = (
                name,
                bench.cuts.g.name,
                sparsity,
                curve.gone[count][name],
                guess,
                (low, high),
                images,
                bench.n,
            )
            yield Band(*facts, curve.unit.group, curve.unit.why, bench.in_full)


def bands_csv(bands: Sequence[Band]) -> str:
    """Tidy table with the columns of `BAND_COLUMNS`; group: names separated by spaces; in_full: as in
    `scan.to_csv`.
    """
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(BAND_COLUMNS)
    for b in bands:
        numbers = (f"{value:.6f}" for value in (b.top1, *b.interval, b.achieved))
        row = (b.parameter, b.granularity, f"{b.sparsity:g}", *numbers, b.images, b.n)
        table.writerow((*row, " ".join(b.group), b.in_full or ""))
    return out.getvalue()
