"""A sample of the images in place of all: how it is drawn, and its confidence interval."""

from math import ceil, inf, sqrt

import numpy as np
import torch
from jaxtyping import Float, Int, Int8
from torch import Tensor

from pruning_core.evaluation.intervals import paired_interval

BINS_OF_SIMILARITY = 0.5
"""The least ratio of a systematic sample's variance to a simple random sample's."""


def similarity_order(logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"]) -> list[int]:
    """Indices of the images in an order in which neighbours are similar.

    They are sorted by class, and within a class by the margin: the logit of the true class minus
    the largest other one. The margin rises in one class and falls in the next.
    """
    own = torch.nn.functional.one_hot(labels.long(), logits.shape[1]).bool()
    margin = logits[own] - logits.masked_fill(own, -inf).amax(1)
    rising = torch.where(labels % 2 == 1, -margin, margin)
    order: list[int] = np.lexsort((rising.numpy(), labels.numpy())).tolist()
    return order


def systematic_parts(n: int, parts: int, seed: int) -> list[np.ndarray]:
    """Splits the indices 0 to n - 1 into `parts` parts (at most n): a systematic sample each.

    Of every run of `parts` neighbours, each part has one, drawn at random.
    """
    count = min(parts, n)
    rows = np.tile(np.arange(count), (ceil(n / count), 1))
    part = np.random.default_rng(seed).permuted(rows, axis=1).flatten()[:n]
    return [np.flatnonzero(part == at) for at in range(count)]


def subsample_interval(change: Int8[np.ndarray, " m"], n: int) -> tuple[float, float]:
    """95% interval of the mean change over n images, from m of them in their order.

    change: 1 = became right, -1 = became wrong, 0 = stayed. Tango's paired interval, with its
    distances from the mean multiplied by sqrt((n - m) / (n - 1)), because no image is drawn twice,
    and by sqrt(v / s^2) in [sqrt(BINS_OF_SIMILARITY), 1]. v = mean (d_i - d_i+1)^2 / 2 over
    neighbours is the variance of a systematic sample (Wolter, Introduction to Variance Estimation,
    1985), s^2 = mean (d - mean)^2.
    """
    m = len(change)
    mean = float(change.mean())
    variance = float(change.var())
    ratio = float(np.square(np.diff(change)).mean()) / 2 / variance if variance else 1.0
    shrink = sqrt(min(1.0, max(BINS_OF_SIMILARITY, ratio)) * (n - m) / max(1, n - 1))
    low, high = paired_interval(int((change > 0).sum()), int((change < 0).sum()), m)
    return mean + shrink * (low - mean), mean + shrink * (high - mean)
