"""Criteria that read the gradient of the loss on the calibration images."""

import torch
from torch import Tensor, nn

from pruning_core.model.gradients import gradients
from pruning_core.model.inventory import weights
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
    term, so that terms of opposite signs cancel. g is the gradient of all calibration images as one
    batch; the authors' code averages the squares over mini-batches, which here no pool can do after
    the scores of single weights are added. Scores of single weights keep their sign.
    Molchanov et al. 2019, arXiv:1906.10771, equation 8.
    """
    return _products(model, layers, batches)


def snip(model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
    """Weights to which the loss is least sensitive are removed first.

    s = |w g| / sum of |w g| over all layers. w g is the slope of the loss as the mask c of a
    connection, in w c, leaves 1. A group's score is the sum. Made for untrained networks: one shot,
    Global. Single weights rank as by Taylor |w g|. Lee et al. 2019, arXiv:1810.02340.
    """
    sensitivity = {name: term.abs() for name, term in _products(model, layers, batches).items()}
    total = sum(float(values.double().sum()) for values in sensitivity.values())
    # Where all gradients are zero, all scores are zero.
    divisor = total or torch.finfo(torch.float32).tiny
    return {name: (values.double() / divisor).float() for name, values in sensitivity.items()}


def _products(model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> dict[str, Tensor]:
    """w g of every weight."""
    w = weights(model, layers)
    return {name: w[name] * g for name, g in gradients(model, layers, batches).items()}
