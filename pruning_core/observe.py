"""What the data says about the weights: the only backward passes for scoring."""

from copy import deepcopy

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pruning_core.inventory import oihw
from pruning_core.types import Batches, Layer, PruningError


def gradients(model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> dict[str, Float[Tensor, "_o _i _h _w"]]:
    """dL/dW of the mean cross-entropy over all images of the batches, in evaluation mode, OIHW on the CPU.

    Works on a copy. Raises PruningError without batches or for a gradient that is not finite.
    """
    if not batches:
        raise PruningError("This criterion reads gradients: give it at least one batch of labelled images.")
    copy = deepcopy(model).eval().requires_grad_(False)
    device = next(copy.parameters()).device
    parameters = [copy.get_parameter(layer.name).requires_grad_(True) for layer in layers]
    total = [torch.zeros_like(parameter) for parameter in parameters]
    images = sum(len(y) for _, y in batches)
    for x, y in batches:
        with torch.enable_grad():
            loss = cross_entropy(copy(x.to(device)), y.to(device), reduction="sum") / images
        for held, grad in zip(total, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
            held += 0 if grad is None else grad
    if broken := [layer.name for layer, grad in zip(layers, total, strict=True) if not grad.isfinite().all()]:
        raise PruningError(f"The gradient of {broken[0]} is not finite on the calibration images: check weights and data.")
    return {layer.name: oihw(grad, layer).cpu() for layer, grad in zip(layers, total, strict=True)}
