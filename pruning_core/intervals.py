"""95% intervals: of a value on samples, and of its change on the same samples."""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

from pruning_core.errors import PruningError

BISECTIONS = 60
DRAWS = 1000
"""Resamples of a bootstrap."""
CHUNK = 100
"""Resamples that are computed at once."""
Statistics = Mapping[str, Shaped[Tensor, "_n ..."]]
"""Numbers of each sample, by name, of which a value reads the sums."""
ValueOf = Callable[[Statistics], Tensor]
"""Sums of the statistics over b sets of samples -> b values."""


def wilson_interval(correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval for the fraction correct / n, in [0, 1]; n = 0 gives (0, 1).

    (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), p = correct / n. Raises PruningError
    unless 0 <= correct <= n. Wilson 1927, J. Am. Stat. Assoc. 22(158).

    >>> low, high = wilson_interval(90, 100)
    >>> round(low, 3), round(high, 3)
    (0.826, 0.945)
    """
    if not 0 <= correct <= n:
        raise PruningError(f"{correct} of {n} is not a fraction.")
    if n == 0:
        return 0.0, 1.0
    p = correct / n
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    whole = 2 * (n + z**2)
    middle = (2 * n * p + z**2) / whole
    half = z / whole * math.sqrt(4 * n * p * (1 - p) + z**2)
    low = 0.0 if correct == 0 else middle - half
    high = 1.0 if correct == n else middle + half
    return low, high


def paired_interval(
    gained: int, lost: int, n: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Score interval of the difference d of two fractions measured on the same n images.

    All d with |T(d)| <= z, T(d) = (b - c - n d) / sqrt(n (2 q + d (1 - d))), b = gained, c = lost.
    q is the likeliest fraction of lost images given d: the root of
    2n q^2 + (d (2n - b + c) - b - c) q - c d (1 - d). Only images whose answer changed count, so it
    is much narrower than the difference of two separate intervals. b = c = 0 gives
    -+ z^2 / (n + z^2), n = 0 gives (-1, 1). Raises PruningError for impossible counts. Tango 1998,
    Statistics in Medicine 17(8).
    """
    if min(gained, lost) < 0 or gained + lost > n:
        raise PruningError(
            f"{gained} gained and {lost} lost of {n} images cannot be: "
            f"give counts of at most {n} images together."
        )
    if n == 0:
        return -1.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    return _crossing(gained, lost, n, z, -1.0), _crossing(gained, lost, n, -z, 1.0)


def _crossing(b: int, c: int, n: int, level: float, end: float) -> float:
    """Where the falling T crosses a level, between the estimate and one end of [-1, 1]."""
    inside = (b - c) / n
    outside = end
    for _ in range(BISECTIONS):
        middle = (inside + outside) / 2
        far = abs(_score(b, c, n, middle)) > abs(level)
        inside, outside = (inside, middle) if far else (middle, outside)
    return inside


def _score(b: int, c: int, n: int, d: float) -> float:
    """T(d); infinite where d makes the counts impossible."""
    slope = d * (2 * n - b + c) - b - c
    root = math.sqrt(max(0.0, slope * slope + 8 * n * c * d * (1 - d)))
    variance = n * (2 * (root - slope) / (4 * n) + d * (1 - d))
    gap = b - c - n * d
    return gap / math.sqrt(variance) if variance > 1e-12 else math.copysign(math.inf, gap)


def bootstrap_interval(
    value_of: ValueOf, statistics: Statistics, confidence: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of a value over `DRAWS` resamples of the samples.

    Efron 1979, Annals of Statistics 7(1). The resamples are fixed by the number of samples. One
    sample shows no spread: its interval is (-inf, inf).
    """
    if len(statistics["count"]) < 2:
        return -math.inf, math.inf
    return _percentiles([value_of(sums) for sums in _resampled(statistics)], confidence)


def bootstrap_change(
    value_of: ValueOf, before: Statistics, after: Statistics, confidence: float = 0.95
) -> tuple[float, float]:
    """As `bootstrap_interval`, of the value after minus the value before on the same samples.

    Every resample draws the same samples for both. Equal statistics give (0, 0).
    """
    if len(before["count"]) < 2:
        return -math.inf, math.inf
    changes = [
        value_of(now) - value_of(then)
        for then, now in zip(_resampled(before), _resampled(after), strict=True)
    ]
    return _percentiles(changes, confidence)


def _percentiles(values: list[Tensor], confidence: float) -> tuple[float, float]:
    ends = torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2], dtype=torch.float64)
    low, high = torch.cat(values).double().quantile(ends).tolist()
    return low, high


def _resampled(statistics: Statistics) -> Iterator[dict[str, Float[Tensor, "_b ..."]]]:
    """The sums over the samples of each resample, `CHUNK` resamples at a time."""
    for counts in resample_counts(len(statistics["count"])).split(CHUNK):
        weights = counts.double()
        yield {
            name: (weights @ tensor.double().flatten(1)).unflatten(1, tensor.shape[1:])
            if tensor.ndim > 1
            else weights @ tensor.double()
            for name, tensor in statistics.items()
        }


@lru_cache(maxsize=4)
def resample_counts(n: int, draws: int = DRAWS, seed: int = 0) -> UInt8[Tensor, "d n"]:
    """How often each resample of n samples draws each of them, with replacement."""
    random = np.random.default_rng(seed)
    counts = np.empty((draws, n), np.uint8)
    for row in counts:
        row[:] = np.bincount(random.integers(0, n, n), minlength=n)
    return torch.from_numpy(counts)
