"""Criteria that read second derivatives of the loss on the calibration images."""

from dataclasses import dataclass

from torch import nn

from pruning_core.criteria.protocol import CriterionBase
from pruning_core.model.gradients import hessian_gradients, squared_gradients
from pruning_core.model.inventory import weights
from pruning_core.model.precision import in_float32
from pruning_core.types import Batches, Layer, Scores


@dataclass(frozen=True, kw_only=True)
class Grasp(CriterionBase):
    """Weights whose removal weakens the gradient flow least are removed first.

    s = w (H g), with g and H of the mean cross-entropy of logits / temperature. The paper removes
    the largest -w (H g), the change of |g|^2 / 2 as w becomes zero; here these are the lowest, most
    negative scores. Made for untrained networks: the flow rounds:fresh=1, one shot, Global.
    batch_statistics: batch norms use each calibration batch's own mean and variance, as in the
    authors' code, which scores in training mode. Wang et al. 2020, arXiv:2002.07376.
    """

    temperature: float = 200.0
    batch_statistics: bool = False

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        model = in_float32(model)
        w = weights(model, layers)
        products = hessian_gradients(
            model, layers, batches, self.temperature, self.batch_statistics
        )
        return {name: w[name] * hg for name, hg in products.items()}


def obd(model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
    """Weights whose removal changes the loss least, to second order, are removed first.

    s = w^2 h / 2, at a minimum of the loss. h, the diagonal of the Hessian, is the diagonal of the
    empirical Fisher matrix: the mean over images of the squared gradient of one image. A group's
    score is the sum. LeCun et al. 1990, Optimal Brain Damage; Theis et al. 2018, arXiv:1801.05787.
    """
    w = weights(model, layers)
    curvatures = squared_gradients(model, layers, batches)
    return {name: w[name].square() * h / 2 for name, h in curvatures.items()}
