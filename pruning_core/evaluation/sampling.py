"""A sample of the images in place of all: how it is drawn, and its confidence interval."""

from collections.abc import Mapping
from math import ceil, inf, sqrt

import numpy as np
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from pruning_core.intervals import paired_interval

Changes = Float[np.ndarray, " m"] | Int[np.ndarray, " m"]
LEAST_VARIANCE_RATIO = 0.5
"""The least ratio of a systematic sample's variance to a simple random sample's."""


def similarity_order(keys: Mapping[str, Shaped[Tensor, " n"]]) -> list[int]:
    """Indices of the images in an order in which neighbours are similar (`Task.similarity`).

    keys: numbers of each image; the first ones are the most important.
    """
    order: list[int] = np.lexsort([key.numpy() for key in reversed(list(keys.values()))]).tolist()
    return order


def systematic_parts(n: int, parts: int, seed: int) -> list[np.ndarray]:
    """Splits the indices 0 to n - 1 into `parts` parts (at most n): a systematic sample each.

    Of every run of `parts` neighbours, each part has one, drawn at random.
    """
    count = min(parts, n)
    rows = np.tile(np.arange(count), (ceil(n / count), 1))
    part = np.random.default_rng(seed).permuted(rows, axis=1).flatten()[:n]
    return [np.flatnonzero(part == at) for at in range(count)]


def subsample_interval(change: Changes, n: int) -> tuple[float, float]:
    """95% interval of the mean change over n images, from m of them in their order.

    change: 1 = became right, -1 = became wrong, 0 = stayed. Tango's paired interval, with its
    distances from the mean multiplied by `_gain`.
    """
    mean = float(change.mean())
    low, high = paired_interval(int((change > 0).sum()), int((change < 0).sum()), len(change))
    gain = _gain(change, n)
    return mean + gain * (low - mean), mean + gain * (high - mean)


def subsample_mean_interval(
    mean: float, change: Float[np.ndarray, " m"], n: int
) -> tuple[float, float]:
    """As `subsample_interval`, of changes of any size: Student's interval around `mean`.

    One image of several shows no spread: its interval is (-inf, inf).
    """
    from scipy.stats import t as student  # takes 1 s to import, so not before it is needed

    m = len(change)
    if m == n:
        return mean, mean
    if m < 2:
        return -inf, inf
    half = float(student.ppf(0.975, m - 1)) * float(change.std(ddof=1)) / sqrt(m)
    return mean - _gain(change, n) * half, mean + _gain(change, n) * half


def _gain(change: Changes, n: int) -> float:
    """Width of the interval of a systematic sample / of a simple one drawn with replacement.

    sqrt((n - m) / (n - 1)), because no image is drawn twice, times sqrt(v / s^2), which is at least
    sqrt(LEAST_VARIANCE_RATIO) and at most 1. v = mean (d_i - d_i+1)^2 / 2 over neighbours is the
    variance of a systematic sample (Wolter, Introduction to Variance Estimation, 1985),
    s^2 = mean (d - mean)^2.
    """
    m = len(change)
    variance = float(change.var())
    ratio = float(np.square(np.diff(change)).mean()) / 2 / variance if variance else 1.0
    return sqrt(min(1.0, max(LEAST_VARIANCE_RATIO, ratio)) * (n - m) / max(1, n - 1))
