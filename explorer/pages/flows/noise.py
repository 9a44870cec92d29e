"""How noisy each weight's gradient is, and how that changes SEVEN's ranking. Arrays only."""

from dataclasses import dataclass

import numpy as np
import torch

from pruning_core.criteria import criterion
from pruning_core.criteria.seven import AccumulatedScores, noise_factors
from pruning_core.masks import ranks
from pruning_core.model.gradients import batch_gradients
from pruning_core.model.inventory import weights
from pruning_core.plan import Plan
from pruning_core.resolved_plan import criterion_model
from pruning_core.types import Layer
from pruning_core.workspaces import Workspace, calibration

BATCH = 32


@dataclass(frozen=True, eq=False)
class Noise:
    """One layer over some mini-batches; all arrays O I H W.

    factor: m^ / sqrt(v^). The others are relative ranks in [0, 1), 0 removed first, by different
    scores. taylor: |w g| of all images as one batch; plain: sum of |w g| over mini-batches; seven:
    the same sum with the factor.
    """

    factor: np.ndarray
    taylor: np.ndarray
    plain: np.ndarray
    seven: np.ndarray
    batches: int

    def agreement(self, other: np.ndarray) -> float:
        """Spearman's rank correlation of SEVEN's ranks with others."""
        return float(np.corrcoef(other.ravel(), self.seven.ravel())[0, 1])

    def exchanged(self, sparsity: float) -> float:
        """The fraction that SEVEN keeps of what the plain sum removes at that sparsity."""
        removed = self.plain < sparsity
        kept_by_seven = removed & (self.seven >= sparsity)
        return float(kept_by_seven.sum() / max(1, removed.sum()))


def noise(
    plan: Plan, space: Workspace, layer: Layer, beta1: float, beta2: float, signed: bool
) -> Noise:
    """Reads the calibration images in mini-batches of 32, with the dense network."""
    images = calibration(space, plan.calibration)
    layers = (layer,)
    taylor = criterion("taylor")
    model = criterion_model(taylor, space)
    gradients = list(batch_gradients(model, layers, images, BATCH))
    w = weights(model, layers)
    accumulated = AccumulatedScores(beta1, beta2, signed)
    for gradient in gradients:
        accumulated.add(w, gradient)
    products = [(w[layer.name] * gradient[layer.name]).abs() for gradient in gradients]
    return Noise(
        factor=noise_factors(gradients, beta1, beta2, signed)[layer.name].numpy(),
        taylor=_relative_ranks(taylor(model, layers, images)[layer.name]),
        plain=_relative_ranks(torch.stack(products).sum(0)),
        seven=_relative_ranks(accumulated.scores[layer.name]),
        batches=len(gradients),
    )


def _relative_ranks(scores: torch.Tensor) -> np.ndarray:
    places = ranks(scores.reshape(1, -1)).double() / scores.numel()
    return places.reshape(scores.shape).numpy()
