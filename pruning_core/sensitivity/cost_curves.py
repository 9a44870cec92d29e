"""Cost curves: what pruning one layer costs, as a function of the fraction removed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from jaxtyping import Float

from pruning_core.intervals import paired_interval
from pruning_core.tasks import Classification
from pruning_core.types import PruningError, SensitivityPoint

Points = Sequence[SensitivityPoint]


@dataclass(frozen=True, eq=False)
class Curve:
    """The cost of pruning one layer alone.

    removed: fractions of its weights that were removed, rising from 0.
    cost: rising from 0, in nats for the loss, as a fraction for the accuracy; for another task in
    the units of its loss and of its value.
    """

    removed: Float[np.ndarray, " p"]
    cost: Float[np.ndarray, " p"]

    @property
    def end(self) -> float:
        """The largest fraction that was measured; 0 where nothing could be removed."""
        return float(self.removed[-1])


Curves = Mapping[str, Curve]

SIGNALS: dict[str, Callable[[SensitivityPoint], float]] = {
    "loss": lambda point: point.loss,
    "accuracy": lambda point: -point.task.sign * point.value,
}
"""name -> the number of a point that is larger when the network is worse."""


def cost_curve(points: Points, name: str, signal: str = "loss") -> Curve:
    """The cost of pruning a layer: its rise above the dense network, plus tau x fraction removed.

    Small dips are smoothed out first, by isotonic regression (`smooth_dips`).
    tau: the smallest change that n images can distinguish from no change
    (`intervals.paired_interval` of no changed answers), times what one lost image adds. With it,
    layers whose curves differ by less than tau get nearly equal ratios.
    Raises PruningError for a curve without the dense network.
    """
    curve = [point for point in points if point.parameter == name]
    value = SIGNALS[signal]
    removed, index = np.unique([point.achieved for point in curve], return_inverse=True)
    if removed[0] > 0:
        raise PruningError(
            f"The curve of {name} has no point without removal: measure the dense network too."
        )
    count = np.bincount(index).astype(float)
    mean = np.bincount(index, weights=[value(point) for point in curve]) / count
    rising = smooth_dips(mean, count)
    tau = _lost_image(points, signal) * paired_interval(0, 0, min(point.n for point in curve))[1]
    return Curve(removed, rising - rising[0] + tau * removed)


def _lost_image(points: Points, signal: str) -> float:
    """What one image adds to the mean when its answer is lost.

    Of a value in a range, the length of the range. An image that is answered by chance among ten
    classes adds ln 10 nats to the loss of a classifier. Elsewhere it is the largest rise among all
    points.
    """
    task = points[0].task
    if signal == "accuracy" and task.low is not None and task.high is not None:
        return task.high - task.low
    if signal == "loss" and isinstance(task, Classification):
        return log(10)
    values = [SIGNALS[signal](point) for point in points]
    return max(values) - min(values)


def smooth_dips(
    values: Float[np.ndarray, " p"], weights: Float[np.ndarray, " p"]
) -> Float[np.ndarray, " p"]:
    """The sequence without dips (non-decreasing) that is nearest in weighted least squares.

    Isotonic regression by pooling adjacent violators (Ayer et al. 1955), as scipy computes it.

    >>> smooth_dips(np.array([1.0, 3.0, 2.0]), np.ones(3)).tolist()
    [1.0, 2.5, 2.5]
    """
    from scipy.optimize import isotonic_regression  # takes 0.5 s to import

    return np.asarray(isotonic_regression(values, weights=weights).x)


def lower_hull(curve: Curve) -> Curve:
    """The corners of the curve's lower convex hull, from left to right."""
    corners: list[tuple[float, float]] = []
    for corner in zip(curve.removed.tolist(), curve.cost.tolist(), strict=True):
        while len(corners) > 1 and _slope(*corners[-2:]) >= _slope(corners[-1], corner):
            corners.pop()
        corners.append(corner)
    removed, cost = np.array(corners).T
    return Curve(removed, cost)


def _slope(first: tuple[float, float], second: tuple[float, float]) -> float:
    return (second[1] - first[1]) / (second[0] - first[0])
