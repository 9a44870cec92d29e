"""A scan's curves in a tenth of the evaluations: spent where the curves are uncertain, with bands that say how far to trust."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from math import sqrt

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from pruning_core.coupling import WHOLE_OUTPUTS, Coupling
from pruning_core.curves import isotonic
from pruning_core.cuts import Cuts, Unit, units
from pruning_core.granularity import Granularity, granularity
from pruning_core.intervals import paired
from pruning_core.pipeline import Workspace, check_by_hand, groups_of, probe_split
from pruning_core.plan import Plan
from pruning_core.replay import Replay
from pruning_core.sensitivity import GRID
from pruning_core.train import evaluate
from pruning_core.types import GroupScores, Layer, PruningError, Split

PARTS = 10
"""Parts that the images are cut into: a point is measured on one part after another."""
SLACK = 0.01
"""How far accuracy may rise with sparsity in curves that were not seen rising."""
AT_ONCE = 0.5
"""Share of the curves that get another part in one round."""
CONFIDENCE = 0.98
"""Of each band: above 95%, since a band that is narrow by luck gets no more images."""

BANDS_HEAD = ("parameter", "granularity", "sparsity", "top1", "low", "high", "achieved", "images", "n", "group")
"""Columns of the table."""


@dataclass(frozen=True)
class Band:
    """One point of a curve before it is fully measured. top1: the best guess; interval: where the full scan should find it.

    images: on how many of the n it was measured so far, 0 where it is read between its neighbours.
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

    @property
    def no_op(self) -> bool:
        """Was something asked for and nothing removed? (As in `SensitivityPoint`.)"""
        return self.sparsity > 0 and self.achieved == 0


@dataclass(frozen=True)
class Preview:
    """All curves so far. spent, budget, full: evaluations (one image through the network for one point) so far, allowed, and of
    the full scan; the dense network counts too."""

    bands: tuple[Band, ...]
    spent: int
    budget: int
    full: int


def preview(
    model: nn.Module, layers: tuple[Layer, ...], groups: GroupScores, g: Granularity, split: Split, *,
    grid: Sequence[float] = GRID, outputs: tuple[int, ...] | None = None, device: torch.device | None = None,
    couplings: Sequence[Coupling] = (), tied: bool = False, share: float = 0.1, seed: int = 0,
) -> Iterator[Preview]:  # fmt: skip
    """Yields ever better curves of all layers and sparsities, until `share` of the full scan's evaluations are spent.

    The dense network is measured on all images. Then every curve's end and middle on one part of the images; then, round by
    round, the point of the widest band in each of the least certain curves gets its next part. A band is the paired interval of
    the change (`intervals.paired`, narrowed for images drawn without return from n), cut by its neighbours': more sparsity
    never helps, but for `SLACK` and what was seen to rise in that curve. Arguments as in `sensitivity.scan`; seed: of the order
    of the images. Closing the generator stops it. Raises PruningError for a grid or share outside [0, 1], and for no images.
    """
    if not grid or not all(0 <= s <= 1 for s in grid) or not 0 <= share <= 1:
        raise PruningError(f"The sparsity grid {tuple(grid)} and the share {share} must lie in [0, 1].")
    cuts = Cuts(model, layers, g, couplings)
    found = [_curve(cuts, unit, unit.curve(g, grid)) for unit in units(layers, groups, g, couplings, tied=tied)]
    bench = _Bench(cuts, split, outputs, device, seed)
    n, full = len(split), (1 + sum(len(curve.points) for curve in found)) * len(split)
    budget, spent = max(n, round(share * full)), n
    todo = [(curve, count) for curve in found for count in curve.first()]
    while True:
        spent += bench.measure(todo, budget - spent)
        bands = [curve.bands(bench) for curve in found]
        told = (band for curve, seen in zip(found, bands, strict=True) for band in _told(curve, seen, bench))
        yield Preview(tuple(told), spent, budget, full)
        todo = _widest(found, bands, bench)
        if not todo or spent + bench.size(todo[0]) > budget:
            return


def preview_plan(
    plan: Plan, space: Workspace, grid: Sequence[float], *,
    tied: bool = False, share: float = 0.1, device: torch.device | None = None,
) -> Iterator[Preview]:  # fmt: skip
    """The preview of `pipeline.scan_plan`: the plan's criterion and granularity on the probe images.

    tied: layers whose channels are tied are cut as one. Raises PruningError as `pipeline.scan_plan`.
    """
    check_by_hand(plan, space)
    _, groups = groups_of(plan, space)
    couplings, untraced = space.tied if plan.granularity in WHOLE_OUTPUTS else ((), None)
    if tied and untraced:
        raise PruningError(f"{untraced} Preview each layer alone.")
    yield from preview(
        space.model, space.layers, groups, granularity(plan.granularity), probe_split(plan, space), grid=grid,
        outputs=space.dataset.outputs, device=device, couplings=couplings, tied=tied, share=share,
    )  # fmt: skip


_paired = lru_cache(maxsize=4096)(partial(paired, confidence=CONFIDENCE))


@dataclass(eq=False)
class _Point:
    """One cut: on how many parts it was measured, and what became right and wrong there."""

    parts: int = 0
    gained: int = 0
    lost: int = 0


@dataclass(eq=False)
class _Curve:
    """One unit's points by the number of groups that go, rising."""

    unit: Unit
    asked: list[tuple[float, int]]
    gone: dict[int, dict[str, float]]
    points: dict[int, _Point] = field(init=False)

    def __post_init__(self) -> None:
        self.points = {count: _Point() for _, count in self.asked if count}

    def first(self) -> list[int]:
        """The end and the middle."""
        counts = list(self.points)
        return list(dict.fromkeys([counts[-1], counts[len(counts) // 2]])) if counts else []

    def bands(self, bench: "_Bench") -> dict[int, tuple[float, float]]:
        """Of each point: its own interval cut by its neighbours'; by theirs alone where it was not measured."""
        own = {count: bench.interval(point) for count, point in self.points.items() if point.parts}
        before = {0: bench.whole} | own
        guess = [bench.guess(point) for point in self.points.values() if point.parts]
        slack = max([SLACK, *(later - guess[k] for k in range(len(guess)) for later in guess[k + 1 :])])
        found = {}
        for count in self.points:
            lows = [low - (slack if other > count else 0) for other, (low, _) in own.items() if other >= count]
            highs = [high + (slack if other < count else 0) for other, (_, high) in before.items() if other <= count]
            low, high = max([0.0, *lows]), min([1.0, *highs])
            found[count] = (low, high) if low <= high else own.get(count, (high, low))
        return found


def _curve(cuts: Cuts, unit: Unit, asked: list[tuple[float, int]]) -> _Curve:
    return _Curve(unit, asked, {count: cuts.gone(unit, count) for _, count in asked})


class _Bench:
    """The images in a fixed order, the dense network's answers, and where points are measured."""

    def __init__(self, cuts: Cuts, split: Split, outputs: tuple[int, ...] | None, device: torch.device | None, seed: int) -> None:
        self.cuts, self.g, self.device, self.n = cuts, cuts.g, device, len(split)
        self._chosen = slice(None) if outputs is None else list(outputs)
        order = torch.randperm(self.n, generator=torch.Generator().manual_seed(seed))
        found = evaluate(cuts.model, split, outputs=outputs, device=device)
        places = order.tensor_split(min(PARTS, self.n))
        self._replays: dict[int, Replay] = {}
        self.parts = [split.subset(part.tolist()) for part in places]
        self.seen = np.cumsum([0, *map(len, self.parts)])
        self.dense = [found.predictions[part] == split.labels[part] for part in places]
        self.top1 = found.top1
        self.whole = (self.top1, self.top1)

    def size(self, point: tuple[_Curve, int]) -> int:
        """Images of the point's next part."""
        curve, count = point
        return len(self.parts[curve.points[count].parts])

    def measure(self, todo: Sequence[tuple[_Curve, int]], budget: int) -> int:
        """Measures each point on its next part, as far as the budget goes; how many evaluations that took."""
        spent, by_part = 0, dict[int, dict[_Curve, list[int]]]()
        for curve, count in todo:
            if spent + self.size((curve, count)) <= budget:
                spent += self.size((curve, count))
                by_part.setdefault(curve.points[count].parts, {}).setdefault(curve, []).append(count)
        for part, wanted in by_part.items():
            if part not in self._replays:
                self._replays[part] = Replay(self.cuts.model, self.parts[part], device=self.device)
            found = self.cuts.visits([(curve.unit, counts) for curve, counts in wanted.items()], self._replays[part])
            for curve, counts in wanted.items():
                for count in counts:
                    self._count(curve.points[count], next(found)[0], part)
        return spent

    def _count(self, point: _Point, logits: Float[Tensor, "b c"], part: int) -> None:
        """One more part of a point: what became right and what wrong."""
        right, was = logits[:, self._chosen].argmax(1) == self.parts[part].labels, self.dense[part]
        point.parts += 1
        point.gained += int((right & ~was).sum())
        point.lost += int((was & ~right).sum())

    def guess(self, point: _Point) -> float:
        """Top-1 on all images, if the rest change as those seen did."""
        return self.top1 + (point.gained - point.lost) / int(self.seen[point.parts])

    def interval(self, point: _Point) -> tuple[float, float]:
        """Where top-1 on all n images lies, from the m seen: paired, x sqrt((n - m) / (n - 1))."""
        m, guess = int(self.seen[point.parts]), self.guess(point)
        shrink = sqrt((self.n - m) / max(1, self.n - 1))
        low, high = (guess + shrink * (self.top1 + end - guess) for end in _paired(point.gained, point.lost, m))
        return low, high


def _widest(
    curves: Sequence[_Curve], bands: Sequence[Mapping[int, tuple[float, float]]], bench: _Bench
) -> list[tuple[_Curve, int]]:
    """The point of the widest band in each of the least certain curves, of those that are not fully measured."""
    open_points = []
    for curve, seen in zip(curves, bands, strict=True):
        widths = [(seen[c][1] - seen[c][0], c) for c, point in curve.points.items() if point.parts < len(bench.parts)]
        if widths:
            open_points.append((*max(widths), curve))
    open_points.sort(key=lambda found: -found[0])
    return [(curve, count) for _, count, curve in open_points[: max(1, round(AT_ONCE * len(open_points)))]]


def _told(curve: _Curve, bands: Mapping[int, tuple[float, float]], bench: _Bench) -> Iterator[Band]:
    """The curve's points as they are shown; the guess falls with sparsity and is read linearly between those measured."""
    measured = [0, *(count for count, point in curve.points.items() if point.parts)]
    guesses = [bench.top1, *(bench.guess(point) for point in curve.points.values() if point.parts)]
    weights = [bench.n, *(int(bench.seen[point.parts]) for point in curve.points.values() if point.parts)]
    falling = -isotonic(-np.array(guesses), np.array(weights, dtype=float))
    unit = curve.unit
    for name in unit.names:
        for sparsity, count in curve.asked:
            low, high = bands.get(count, bench.whole)
            guess = min(high, max(low, float(np.interp(count, measured, falling))))
            seen = int(bench.seen[curve.points[count].parts]) if count else bench.n
            yield Band(
                name,
                bench.cuts.g.name,
                sparsity,
                curve.gone[count][name],
                guess,
                (low, high),
                seen,
                bench.n,
                unit.group,
                unit.why,
            )


def bands_csv(bands: Sequence[Band]) -> str:
    """Tidy table with the columns of `BANDS_HEAD`; group: names separated by spaces."""
    rows = (
        f"{b.parameter},{b.granularity},{b.sparsity:g},{b.top1:.6f},{b.interval[0]:.6f},{b.interval[1]:.6f},{b.achieved:.6f},"
        f"{b.images},{b.n},{' '.join(b.group)}"
        for b in bands
    )
    return "\n".join([",".join(BANDS_HEAD), *rows]) + "\n"
