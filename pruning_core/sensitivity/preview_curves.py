"""Curves of a preview: what each point was measured on, and the band of every point."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from jaxtyping import Bool, Int, Int8

from pruning_core.evaluation.sampling import subsample_interval
from pruning_core.sensitivity.cost_curves import smooth_dips
from pruning_core.sensitivity.forward_cost import ForwardCost
from pruning_core.sensitivity.preview_bands import Band
from pruning_core.sensitivity.prune_units import PruneUnit

SLACK = 0.01
"""How far accuracy may rise with sparsity in a curve in which no rise was measured."""
Interval = tuple[float, float]


@dataclass(eq=False)
class PreviewPoint:
    """One unit with some of its groups removed, measured on some of the images.

    downstream: cost of what is computed again for it.
    changes: per image, in the preview's order: 1 where the answer became right, -1 where it
    became wrong, else 0.
    measured: True for the images that the point was measured on.
    change: top-1 minus that of the dense network, on those images. interval: its 95% interval for
    all images.
    """

    downstream: ForwardCost
    changes: Int8[np.ndarray, " n"]
    measured: Bool[np.ndarray, " n"]
    images: int = 0
    change: float = 0.0
    interval: Interval = (-1.0, 1.0)

    @property
    def complete(self) -> bool:
        """Was it measured on all images?"""
        return self.images == len(self.measured)

    def set_unchanged(self) -> None:
        """Nothing that the outputs depend on reads the unit: all answers stay as they are."""
        self.measured[:] = True
        self.images = len(self.measured)
        self.interval = (0.0, 0.0)

    def add(self, images: Int[np.ndarray, " m"], changes: Int[np.ndarray, " m"]) -> None:
        """Adds measurements. images: their indices."""
        self.changes[images] = changes
        self.measured[images] = True
        known = self.changes[self.measured]
        self.images = len(known)
        self.change = float(known.mean())
        self.interval = subsample_interval(known, len(self.measured))


@dataclass(eq=False)
class PreviewCurve:
    """The curve of one unit.

    counts: (sparsity, number of groups removed), as in `PruneUnit.counts`.
    removed: by number of groups, the fraction of each layer's weights that is removed.
    points: by number of groups above 0, rising.
    """

    unit: PruneUnit
    counts: list[tuple[float, int]]
    removed: dict[int, dict[str, float]]
    points: dict[int, PreviewPoint]

    def measured(self) -> dict[int, PreviewPoint]:
        """The points that were measured on at least one image."""
        return {count: point for count, point in self.points.items() if point.images}

    def intervals(self) -> dict[int, Interval]:
        """Each point's interval of the change of top-1, limited by those of the other points.

        Removing more groups does not raise accuracy, except by `slack`. A point that was not
        measured has the limits of the others only.
        """
        own = {count: point.interval for count, point in self.measured().items()}
        slack = self._slack()
        intervals = {}
        for count in self.points:
            lows = [low - slack * (k > count) for k, (low, _) in own.items() if k >= count]
            highs = [
                high + slack * (k < count)
                for k, (_, high) in ({0: (0.0, 0.0)} | own).items()
                if k <= count
            ]
            low = max([-1.0, *lows])
            high = min([1.0, *highs])
            intervals[count] = (low, high) if low <= high else own.get(count, (high, low))
        return intervals

    def _slack(self) -> float:
        """The largest measured rise from one point to a later one; at least `SLACK`."""
        changes = [point.change for point in self.measured().values()]
        rises = (later - change for i, change in enumerate(changes) for later in changes[i + 1 :])
        return max([SLACK, *rises])

    def estimates(self, n: int) -> dict[int, float]:
        """Each point's change of top-1: measured, with small rises smoothed out, else interpolated.

        n: number of images, all of which the dense network was measured on.
        """
        measured = self.measured()
        changes = np.array([0.0, *(point.change for point in measured.values())])
        weights = np.array([n, *(point.images for point in measured.values())], dtype=float)
        falling = -smooth_dips(-changes, weights)
        return {count: float(np.interp(count, [0, *measured], falling)) for count in self.removed}


@dataclass(frozen=True)
class DenseNetwork:
    """What bands are relative to.

    top1: of the dense network, on all n images. granularity: name.
    in_full: why every point takes a full forward pass; None where it does not.
    """

    top1: float
    n: int
    granularity: str
    in_full: str | None


def make_bands(curve: PreviewCurve, dense: DenseNetwork) -> Iterator[Band]:
    """The bands of each layer of the curve's unit, by rising sparsity."""
    intervals = {0: (0.0, 0.0)} | curve.intervals()
    estimates = curve.estimates(dense.n)
    for name in curve.unit.names:
        for sparsity, count in curve.counts:
            low, high = (min(1.0, max(0.0, dense.top1 + end)) for end in intervals[count])
            yield Band(
                parameter=name,
                granularity=dense.granularity,
                sparsity=sparsity,
                achieved=curve.removed[count][name],
                top1=min(high, max(low, dense.top1 + estimates[count])),
                interval=(low, high),
                images=curve.points[count].images if count else dense.n,
                n=dense.n,
                group=curve.unit.group,
                why=curve.unit.reason,
                in_full=dense.in_full,
            )


def by_usefulness(curves: Sequence[PreviewCurve], images: int) -> list[PreviewPoint]:
    """All points, ordered by how much `images` more images narrow their band, per unit of work.

    The width of a band falls with the square root of its images. A point without images gets a
    band of width 2 / sqrt(images) at most. Points that are measured on all images are left out.
    """
    ranked = []
    for curve in curves:
        for count, (low, high) in curve.intervals().items():
            point = curve.points[count]
            if point.complete:
                continue
            width = high - low
            after = min(width, 2 / sqrt(images))
            if point.images:
                after = width * sqrt(point.images / (point.images + images))
            ranked.append(((width - after) / point.downstream.work(images), point))
    ranked.sort(key=lambda pair: -pair[0])
    return [point for _, point in ranked]
