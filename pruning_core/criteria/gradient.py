"""Criteria that read the gradient of the loss on the calibration images."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_core.criteria.protocol import CriterionBase
from pruning_core.model.gradients import gradients
from pruning_core.model.inventory import weights
from pruning_core.model.precision import in_float32
from pruning_core.types import Batches, Layer, Scores


def gradient(model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
    """Weights with a small gradient of the loss are removed first.

    s = |dL/dw|, L the mean cross-entropy. A baseline: no paper ranks weights so; papers score
    |w dL/dw|, which `taylor` gives.
    """
    return {name: g.abs() for name, g in gradients(model, layers, batches).items()}


def taylor(model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
    """Weights whose removal changes the loss least, to first order, are removed first.

    s = |w g|, g = dL/dw. A group's score is the mean. Single weights rank as in Molchanov et al.
    2019, arXiv:1906.10771, equation 7, (w g)^2; their equation 9 adds the squares of a group.
    """
    return {name: term.abs() for name, term in _products(model, layers, batches).items()}


def taylor_group(model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
    """Groups whose removal as a whole changes the loss least, to first order, are removed first.

    The group's score is (sum of w g over the group)^2: the square of the group's own first-order
    term, so that terms of opposite signs cancel. As in the authors' code, it is the mean over
    mini-batches of 32 images, g the gradient of one mini-batch. This function gives w g of all its
    images, with its sign. Molchanov et al. 2019, arXiv:1906.10771, equation 8. Their code scores
    while it trains, over the steps since the last removal; here the network is in evaluation mode.
    """
    return _products(model, layers, batches)


@dataclass(frozen=True, kw_only=True)
class Snip(CriterionBase):
    """Weights to which the loss is least sensitive are removed first.

    s = |w g| / sum of |w g| over all layers. w g is the slope of the loss as the mask c of a
    connection, in w c, leaves 1. A group's score is the sum. Made for untrained networks: the flow
    rounds:fresh=1, one shot, Global. batch_statistics: batch norms use each calibration batch's own
    mean and variance, as in the authors' code, which scores in training mode; a fresh network's
    running statistics are not its own. Without it, and for networks without batch norms, single
    weights rank as by Taylor |w g|. Lee et al. 2019, arXiv:1810.02340.
    """

    batch_statistics: bool = False

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        products = _products(in_float32(model), layers, batches, self.batch_statistics)
        sensitivity = {name: term.abs() for name, term in products.items()}
        total = sum(float(values.double().sum()) for values in sensitivity.values())
        # Where all gradients are zero, all scores are zero.
        divisor = total or torch.finfo(torch.float32).tiny
        return {name: (values.double() / divisor).float() for name, values in sensitivity.items()}


def _products(
    model: nn.Module, layers: tuple[Layer, ...], batches: Batches, batch_statistics: bool = False
) -> dict[str, Tensor]:
    """w g of every weight."""
    w = weights(model, layers)
    slopes = gradients(model, layers, batches, batch_statistics)
    return {name: w[name] * g for name, g in slopes.items()}
