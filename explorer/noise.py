"""How noisy each weight's gradient is, and how that moves SEVEN's ranking away from |w g|. Arrays only; knows no Streamlit."""

from dataclasses import dataclass

import numpy as np

from pruning_core.criteria import criterion
from pruning_core.criteria.seven import Accumulated, noise_factors
from pruning_core.inventory import weights
from pruning_core.masks import ranks
from pruning_core.observe import batch_gradients
from pruning_core.pipeline import Workspace, calibration
from pruning_core.plan import Plan
from pruning_core.types import Layer

BATCH = 32


@dataclass(frozen=True, eq=False)
class Noise:
    """One layer over some mini-batches, all O I H W. factor: m^ / sqrt(v^); taylor, seven: each weight's place in [0, 1] by |w g|
    of all images as one batch and by SEVEN's sum, 0 goes first; agreement: Spearman's rank correlation of the two."""

    factor: np.ndarray
    taylor: np.ndarray
    seven: np.ndarray
    agreement: float
    batches: int

    def exchanged(self, sparsity: float) -> float:
        """Of the weights of this layer that |w g| would remove at that sparsity, the share that SEVEN keeps."""
        gone = self.taylor < sparsity
        return float((gone & (self.seven >= sparsity)).sum() / max(1, gone.sum()))


def noise(plan: Plan, space: Workspace, layer: Layer, beta1: float, beta2: float, signed: bool) -> Noise:
    """Reads the calibration images in mini-batches of 32, all weights in place."""
    images, here = calibration(space, plan.calibration), (layer,)
    slopes = list(batch_gradients(space.model, here, images, BATCH))
    found, w = Accumulated(beta1, beta2, signed), weights(space.model, here)
    for each in slopes:
        found.add(w, each)
    factor = noise_factors(slopes, beta1, beta2, signed)[layer.name]
    taylor, seven = (
        (ranks(scores[layer.name].reshape(1, -1)).double() / layer.numel).reshape(layer.shape).numpy()
        for scores in (criterion("taylor")(space.model, here, images), found.scores)
    )
    agreement = float(np.corrcoef(taylor.ravel(), seven.ravel())[0, 1]) if layer.numel > 1 else 1.0
    return Noise(factor.numpy(), taylor, seven, agreement, len(slopes))
