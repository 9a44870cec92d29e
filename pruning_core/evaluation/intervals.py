"""95% intervals: of an accuracy, and of the change of accuracy on the same images."""

import math
from dataclasses import dataclass
from statistics import NormalDist

from jaxtyping import Int
from torch import Tensor

from pruning_core.types import Evaluation, PruningError

BISECTIONS = 60


@dataclass(frozen=True)
class AccuracyChange:
    """Accuracy after minus accuracy before, on the same n images.

    gained: wrong before, right after; lost: right before, wrong after; value and interval:
    fractions in [-1, 1].
    """

    gained: int
    lost: int
    n: int

    @property
    def value(self) -> float:
        """(gained - lost) / n."""
        return (self.gained - self.lost) / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Tango's 95% interval of the value (`paired_interval`)."""
        return paired_interval(self.gained, self.lost, self.n)

    @property
    def certain(self) -> bool:
        """Is "no change" outside the interval?"""
        low, high = self.interval
        return low > 0 or high < 0


def accuracy_change(
    before: Evaluation, after: Evaluation, labels: Int[Tensor, " n"]
) -> AccuracyChange:
    """Compares two evaluations image by image.

    Raises PruningError unless both were measured on the images of `labels`.
    """
    if not before.n == after.n == len(labels):
        raise PruningError(
            f"Accuracies on {before.n}, {after.n} and {len(labels)} images "
            "cannot be compared image by image."
        )
    was = before.predictions.cpu() == labels.cpu()
    now = after.predictions.cpu() == labels.cpu()
    return AccuracyChange(int((now & ~was).sum()), int((was & ~now).sum()), before.n)


def wilson_interval(correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval for the fraction correct / n, in [0, 1]; n = 0 gives (0, 1).

    (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), p = correct / n. Raises PruningError
    unless 0 <= correct <= n. Wilson 1927, J. Am. Stat. Assoc. 22(158).

    >>> low, high = wilson_interval(90, 100)
    >>> round(low, 3), round(high, 3)
    (0.826, 0.945)
    """
    from scipy.stats import binomtest  # takes 1 s to import, so not before it is needed

    if not 0 <= correct <= n:
        raise PruningError(f"{correct} of {n} is not a fraction.")
    if n == 0:
        return 0.0, 1.0
    interval = binomtest(correct, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


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
