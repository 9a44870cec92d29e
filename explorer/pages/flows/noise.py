"""How noisy each weight's gradient is, and how that moves SEVEN's ranking. Arrays only; knows no
Streamlit.
"""

from dataclasses import dataclass

import numpy as np
import torch

from pruning_core.criteria import criterion
from pruning_core.criteria.seven import Accumulated, noise_factors
from pruning_core.masks import ranks
from pruning_core.model.gradients import batch_gradients
from pruning_core.model.inventory import weights
from pruning_core.pipeline import Workspace, calibration, criterion_model
from pruning_core.plan import Plan
from pruning_core.types import Layer

BATCH = 32


@dataclass(frozen=True, eq=False)
class Noise:
    """One layer over some mini-batches, all O I H W. factor: m^ / sqrt(v^); the others: each
    weight's place in [0, 1), 0 first, by |w g| of all images as one batch (taylor), by the sum
    of |w g| over mini-batches (plain), by that with the factor.
    """

    factor: np.ndarray
    taylor: np.ndarray
    plain: np.ndarray
    seven: np.ndarray
    batches: int

    def agreement(self, other: np.ndarray) -> float:
        """Spearman's rank correlation of SEVEN's places with others."""
        return float(np.corrcoef(other.ravel(), self.seven.ravel())[0, 1])

    def exchanged(self, sparsity: float) -> float:
        """Of the weights that the plain sum would remove at that sparsity, the share that SEVEN
        keeps.
        """
        gone = self.plain < sparsity
        return float((gone & (self.seven >= sparsity)).sum() / max(1, gone.sum()))


def noise(
    plan: Plan, space: Workspace, layer: Layer, beta1: float, beta2: float, signed: bool
) -> Noise:
    """Reads the calibration images in mini-batches of 32, all weights in place."""
    images = calibration(space, plan.calibration)
    here = (layer,)
    how = criterion("taylor")
    model = criterion_model(how, space)
    slopes = list(batch_gradients(model, here, images, BATCH))
    found = Accumulated(beta1, beta2, signed)
    w = weights(model, here)
    for each in slopes:
        found.add(w, each)
    factor = noise_factors(slopes, beta1, beta2, signed)[layer.name]
    plain = torch.stack([(w[layer.name] * each[layer.name]).abs() for each in slopes]).sum(0)
    taylor = how(model, here, images)[layer.name]
    return Noise(
        factor.numpy(),
        _places(taylor),
        _places(plain),
        _places(found.scores[layer.name]),
        len(slopes),
    )


def _places(scores: torch.Tensor) -> np.ndarray:
    return (ranks(scores.reshape(1, -1)).double() / scores.numel()).reshape(scores.shape).numpy()
