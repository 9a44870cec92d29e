"""What removal costs a layer, as a curve that rises from zero."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log

import numpy as np

from pruning_core.evaluation.intervals import paired
from pruning_core.types import PruningError, SensitivityPoint

Points = Sequence[SensitivityPoint]


@dataclass(frozen=True, eq=False)
class Curve:
    """What one layer's loss costs. removed: shares actually removed, rising from 0; cost: rising
    from 0, in the signal's unit.
    """

    removed: np.ndarray
    cost: np.ndarray

    @property
    def end(self) -> float:
        """The largest share that was measured; 0 where nothing could be removed."""
        return float(self.removed[-1])


Curves = Mapping[str, Curve]


def cost_curve(points: Points, name: str, signal: str = "loss") -> Curve:
    """What a layer's removal costs above dense: isotonic in the share removed, plus tau x share.

    tau: the least change that n images tell from none (`intervals.paired` of no change); for the
    loss x ln 10 nats, what an image costs that ends at chance among ten classes. Layers that differ
    by less get nearly equal ratios. Raises PruningError for a curve without the dense network.
    """
    here = [p for p in points if p.parameter == name]
    read, unit = SIGNALS[signal]
    removed, place = np.unique([p.achieved for p in here], return_inverse=True)
    count = np.bincount(place).astype(float)
    mean = np.bincount(place, weights=[read(p) for p in here]) / count
    rising = isotonic(mean, count)
    if removed[0] > 0:
        raise PruningError(
            f"The curve of {name} has no point without removal: measure the dense network too."
        )
    least = unit * paired(0, 0, min(p.n for p in here))[1]
    return Curve(removed, rising - rising[0] + least * removed)


SIGNALS: dict[str, tuple[Callable[[SensitivityPoint], float], float]] = {
    "loss": (lambda point: point.loss, log(10)),
    "accuracy": (lambda point: -point.top1, 1.0),
}
"""What is read from a point, rising with damage, and what an image that is lost costs of it."""


def isotonic(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The nearest rising sequence in weighted squares, by pooling adjacent violators (Ayer et al.
    1955).
    """
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        blocks.append((value, weight, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, u, m), (b, v, n) = blocks[-2:]
            blocks[-2:] = [((a * u + b * v) / (u + v), u + v, m + n)]
    return np.concatenate([np.full(count, value) for value, _, count in blocks])


def hull(curve: Curve) -> Curve:
    """The lower convex hull of a curve, as its corners."""
    kept: list[tuple[float, float]] = []
    for x, y in zip(curve.removed.tolist(), curve.cost.tolist(), strict=True):
        while len(kept) > 1 and _slope(kept[-2], kept[-1]) >= _slope(kept[-1], (x, y)):
            kept.pop()
        kept.append((x, y))
    corners = np.array(kept)
    return Curve(corners[:, 0], corners[:, 1])


def _slope(first: tuple[float, float], second: tuple[float, float]) -> float:
    return (second[1] - first[1]) / (second[0] - first[0])
