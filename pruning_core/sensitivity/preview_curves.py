"""Curves of a preview: what each point was measured on, and the band of every point."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf, sqrt

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from pruning_core.evaluation.sampling import subsample_interval, subsample_mean_interval
from pruning_core.sensitivity.cost_curves import smooth_dips
from pruning_core.sensitivity.forward_cost import ForwardCost
from pruning_core.sensitivity.preview_bands import Band
from pruning_core.sensitivity.prune_units import PruneUnit
from pruning_core.tasks.task import Parts, Task, joined, totals

SLACK = 0.01
"""How far the value may improve with sparsity in a curve in which no improvement was measured: this
fraction of `Task.scale`.
"""
Interval = tuple[float, float]


@dataclass(frozen=True, eq=False)
class DenseNetwork:
    """What bands are relative to.

    value: of the dense network, on all n images. statistics: of each image, in the preview's order.
    granularity: name. in_full: why every point takes a full forward pass; None where it does not.
    """

    task: Task
    value: float
    statistics: Parts
    granularity: str
    in_full: str | None

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.statistics["count"])

    @property
    def scale(self) -> float:
        """How much the value can change."""
        return self.task.scale(self.value)


@dataclass(eq=False)
class PreviewPoint:
    """One unit with some of its groups removed, measured on some of the images.

    downstream: cost of what is computed again for it.
    gain: the value minus that of the dense network on those images, times -1 where a smaller value
    is better: so a gain is an improvement. interval: its 95% interval for all images.
    """

    downstream: ForwardCost
    dense: DenseNetwork
    images: int = 0
    gain: float = 0.0
    interval: Interval = (-inf, inf)
    _measured: list[tuple[Int[np.ndarray, " m"], Parts]] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Was it measured on all images?"""
        return self.images == self.dense.n

    def set_unchanged(self) -> None:
        """Nothing that the outputs depend on reads the unit: all answers stay as they are."""
        self.images = self.dense.n
        self.interval = (0.0, 0.0)

    def add(self, images: Int[np.ndarray, " m"], statistics: Parts) -> None:
        """Adds measurements. images: their indices; statistics: of each of them."""
        self._measured.append((images, statistics))
        indices = np.concatenate([own for own, _ in self._measured])
        order = np.argsort(indices)
        after = {
            name: part[order]
            for name, part in joined([parts for _, parts in self._measured]).items()
        }
        before = {name: part[indices[order]] for name, part in self.dense.statistics.items()}
        self.images = len(indices)
        self.gain, self.interval = _gain(before, after, self.dense)


def _gain(before: Parts, after: Parts, dense: DenseNetwork) -> tuple[float, Interval]:
    """The gain on the images of these statistics, and its interval for all images.

    Where an image's value is 0 or 1, the interval is `subsample_interval`. Else the changes of the
    images are those of their pseudo-values.
    """
    task = dense.task
    if task.binary:
        changes = task.sign * (after["value"] - before["value"]).numpy()
        return float(changes.mean()), subsample_interval(changes, dense.n)
    gain = task.sign * float(task.value_of(totals(after)) - task.value_of(totals(before)))
    changes = task.sign * (pseudo_values(task, after) - pseudo_values(task, before)).numpy()
    return gain, subsample_mean_interval(gain, changes, dense.n)


def pseudo_values(task: Task, statistics: Parts) -> Float[Tensor, " m"]:
    """What each of m images adds to the value: m f(all) - (m - 1) f(all but this one).

    Of a mean they are its terms. Tukey 1958, Annals of Mathematical Statistics 29 (jackknife).
    """
    m = len(statistics["count"])
    sums = totals(statistics)
    if m < 2:
        return task.value_of(sums)
    rest = task.value_of({name: sums[name] - part for name, part in statistics.items()})
    return m * task.value_of(sums) - (m - 1) * rest


@dataclass(eq=False)
class PreviewCurve:
    """The curve of one unit.

    counts: (sparsity, number of groups removed), as in `PruneUnit.counts`.
    removed: by number of groups, the fraction of each layer's weights that is removed.
    points: by number of groups above 0, rising. scale: how much the value can change.
    """

    unit: PruneUnit
    counts: list[tuple[float, int]]
    removed: dict[int, dict[str, float]]
    points: dict[int, PreviewPoint]
    scale: float = 1.0

    def measured(self) -> dict[int, PreviewPoint]:
        """The points that were measured on at least one image."""
        return {count: point for count, point in self.points.items() if point.images}

    def intervals(self) -> dict[int, Interval]:
        """Each point's interval of the gain, limited by those of the other points.

        Removing more groups does not improve the value, except by `slack`. A point that was not
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
            low = max([-inf, *lows])
            high = min([inf, *highs])
            intervals[count] = (low, high) if low <= high else own.get(count, (high, low))
        return intervals

    def _slack(self) -> float:
        """The largest measured rise from one point to a later one; at least `SLACK` x scale."""
        gains = [point.gain for point in self.measured().values()]
        rises = (later - gain for i, gain in enumerate(gains) for later in gains[i + 1 :])
        return max([SLACK * self.scale, *rises])

    def estimates(self, n: int) -> dict[int, float]:
        """Each point's gain: measured, with small rises smoothed out, else interpolated.

        n: number of images, all of which the dense network was measured on.
        """
        measured = self.measured()
        gains = np.array([0.0, *(point.gain for point in measured.values())])
        weights = np.array([n, *(point.images for point in measured.values())], dtype=float)
        falling = -smooth_dips(-gains, weights)
        return {count: float(np.interp(count, [0, *measured], falling)) for count in self.removed}


def make_bands(curve: PreviewCurve, dense: DenseNetwork) -> Iterator[Band]:
    """The bands of each layer of the curve's unit, by rising sparsity."""
    intervals = {0: (0.0, 0.0)} | curve.intervals()
    estimates = curve.estimates(dense.n)
    task = dense.task
    for name in curve.unit.names:
        for sparsity, count in curve.counts:
            low, high = sorted(_value(dense, gain) for gain in intervals[count])
            yield Band(
                parameter=name,
                granularity=dense.granularity,
                sparsity=sparsity,
                achieved=curve.removed[count][name],
                value=min(high, max(low, dense.value + task.sign * estimates[count])),
                interval=(low, high),
                images=curve.points[count].images if count else dense.n,
                n=dense.n,
                group=curve.unit.group,
                why=curve.unit.reason,
                in_full=dense.in_full,
                task=task,
            )


def _value(dense: DenseNetwork, gain: float) -> float:
    """The value after a gain, inside the task's range."""
    low = -inf if dense.task.low is None else dense.task.low
    high = inf if dense.task.high is None else dense.task.high
    return min(high, max(low, dense.value + dense.task.sign * gain))


def by_usefulness(curves: Sequence[PreviewCurve], images: int) -> list[PreviewPoint]:
    """All points, ordered by how much `images` more images narrow their band, per unit of work.

    The width of a band falls with the square root of its images. A point without images gets a
    band of width 2 x scale / sqrt(images) at most. Points that are measured on all images are left
    out.
    """
    ranked = []
    for curve in curves:
        for count, (low, high) in curve.intervals().items():
            point = curve.points[count]
            if point.complete:
                continue
            width = high - low
            after = min(width, 2 * curve.scale / sqrt(images))
            if point.images:
                after = width * sqrt(point.images / (point.images + images))
            ranked.append(((width - after) / point.downstream.work(images), point))
    ranked.sort(key=lambda pair: -pair[0])
    return [point for _, point in ranked]
