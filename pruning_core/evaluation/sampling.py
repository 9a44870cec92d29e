"""Some of the images for all: drawn evenly along an order in which neighbours are alike, and what
they say of the rest.
"""

from math import ceil, inf, sqrt

import numpy as np
import torch
from jaxtyping import Float, Int, Int8
from torch import Tensor

from pruning_core.evaluation.intervals import paired

BINS_OF_SIMILARITY = 0.5
"""The least that the variance of an even draw is taken for, of that of a plain random one."""


def similarity_order(logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"]) -> list[int]:
    """Places by class, and in it by the logit of the class above the best other: rising in one
    class, falling in the next.
    """
    own = torch.nn.functional.one_hot(labels.long(), logits.shape[1]).bool()
    margin = logits[own] - logits.masked_fill(own, -inf).amax(1)
    rising = torch.where(labels % 2 == 1, -margin, margin)
    order: list[int] = np.lexsort((rising.numpy(), labels.numpy())).tolist()
    return order


def systematic_parts(n: int, parts: int, seed: int) -> list[np.ndarray]:
    """The places 0 to n - 1 in so many parts (n at most): of as many neighbours each part has one,
    drawn at random.
    """
    count = min(parts, n)
    rows = np.tile(np.arange(count), (ceil(n / count), 1))
    part = np.random.default_rng(seed).permuted(rows, axis=1).flatten()[:n]
    return [np.flatnonzero(part == at) for at in range(count)]


def subsample_interval(change: Int8[np.ndarray, " m"], n: int) -> tuple[float, float]:
    """95% interval of the mean change over n images from m of them, in their order: 1 became right,
    -1 wrong, 0 stayed.

    Tango's paired interval, its distance from the mean times sqrt((n - m) / (n - 1)), for a draw
    without return, and times sqrt(v / s^2) in [sqrt(ALIKE), 1]: v = mean (d_i - d_i+1)^2 / 2 over
    neighbours, the variance left in an even draw (Wolter, Introduction to Variance Estimation,
    1985), s^2 = mean (d - mean)^2.
    """
    m = len(change)
    mean = float(change.mean())
    spread = float(change.var())
    left = float(np.square(np.diff(change)).mean()) / 2 / spread if spread else 1.0
    shrink = sqrt(min(1.0, max(BINS_OF_SIMILARITY, left)) * (n - m) / max(1, n - 1))
    low, high = paired(int((change > 0).sum()), int((change < 0).sum()), m)
    return mean + shrink * (low - mean), mean + shrink * (high - mean)
