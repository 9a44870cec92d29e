"""Repairs that change biases, or the kept weights too, layer by layer in order of execution."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_core.model.input_rows import PLAIN, PROJECTIONS, WeightMatrices, is_plain
from pruning_core.repairs.layer_by_layer import Moments, change_in_order
from pruning_core.repairs.solvers import Solver, column_by_column, keep_weights, least_squares
from pruning_core.training.batch_norm import measure_again, tracked_norms
from pruning_core.types import Batches, Layer, Masks


def correct_biases(
    model: nn.Module, masks: Masks, layers: tuple[Layer, ...], batches: Batches, dense: nn.Module
) -> None:
    """Gives each output the dense network's mean on the calibration images, through its bias.

    b += E[w_dense x_dense] - E[w x]: x is read in the pruned network after the changes of the
    layers before, x_dense in the dense network. For the first pruned layer it is what the removed
    inputs gave on average. A layer without a bias before a batch norm: the running mean instead;
    other layers without a bias stay as they are.
    """
    model.eval()
    change_in_order(model, dense, layers, batches, _Refit(model, masks, dense, keep_weights))


def refit_least_squares(
    model: nn.Module, masks: Masks, layers: tuple[Layer, ...], batches: Batches, dense: nn.Module
) -> None:
    """Refits each layer's kept weights and bias to the dense network's outputs of that layer.

    The inputs are those of the pruned network, refitted up to there. Layers without masks are
    refitted too. Batch-norm statistics are measured again.
    """
    _refit_weights(model, masks, layers, batches, dense, least_squares)


def refit_column_by_column(
    model: nn.Module, masks: Masks, layers: tuple[Layer, ...], batches: Batches, dense: nn.Module
) -> None:
    """Updates each layer's kept weights as the masked weights are removed column by column.

    The aim is that of least squares. The update is faster and not exact: a removal changes only
    weights of later columns.
    """
    _refit_weights(model, masks, layers, batches, dense, column_by_column)


def _refit_weights(
    model: nn.Module,
    masks: Masks,
    layers: tuple[Layer, ...],
    batches: Batches,
    dense: nn.Module,
    solver: Solver,
) -> None:
    model.eval()
    for norm in tracked_norms(model):
        norm.train()  # the next layer reads inputs as they are after the last measurement
    change_in_order(model, dense, layers, batches, _Refit(model, masks, dense, solver))
    measure_again(model, batches)


@dataclass(frozen=True, eq=False)
class _Refit:
    """Called with a product of the masked model, it changes its weights and bias in place."""

    model: nn.Module
    masks: Masks
    dense: nn.Module
    solver: Solver

    def __call__(self, product: WeightMatrices, given: Moments) -> None:
        layer = product.layer
        mask = self.masks.get(layer.name)
        kept = product.matrices(torch.ones(layer.shape, dtype=torch.bool) if mask is None else mask)
        dense = product.matrices(self.dense.get_parameter(layer.name)).cpu().double()
        bias = _bias(product)
        norm = self._norm(layer) if bias is None else None
        free = bias is not None or norm is not None
        weights = self.solver(given.centred() if free else given, dense, kept)
        product.write(weights)
        own = product.matrices(product.weight)
        gap = given.y - (own.cpu().double() @ given.x[:, :, None])[..., 0]
        gap = (gap * kept.any(-1)).flatten()
        if bias is not None:
            bias += gap.to(bias)
        elif norm is not None and norm.running_mean is not None and not norm.training:
            norm.running_mean -= gap.to(norm.running_mean)

    def _norm(self, layer: Layer) -> nn.modules.batchnorm._BatchNorm | None:
        """The batch norm that follows, if it has running statistics."""
        norm = self.model.get_submodule(layer.bn) if layer.bn else None
        if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.track_running_stats:
            return norm
        return None


def _bias(product: WeightMatrices) -> Tensor | None:
    """The bias of the product's outputs, a view; None where it has none."""
    module = product.module
    layer = product.layer
    if isinstance(module, nn.MultiheadAttention):
        if layer.kind == "attention_out":
            return module.out_proj.bias
        packed = module.in_proj_bias
        name = layer.name.rpartition(".")[2]
        parts = list(PROJECTIONS)
        at = parts.index(name) * product.outputs if name in parts else product.start
        return None if packed is None else packed[at : at + product.outputs]
    bias = getattr(module, "bias", None)
    return bias if isinstance(bias, Tensor) else None


def no_products(model: nn.Module) -> str | None:
    """A sentence for a network without a layer that can be refitted, else None."""
    if any(is_plain(m) or isinstance(m, nn.MultiheadAttention) for m in model.modules()):
        return None
    kinds = ", ".join(kind.__name__ for kind in PLAIN)
    return f"This network has no {kinds} or MultiheadAttention, so this repair changes nothing."


def no_biases(model: nn.Module) -> str | None:
    """A sentence for a network without biases and batch norms, else None."""
    biased = (is_plain(m) and m.bias is not None for m in model.modules())
    attention = (m for m in model.modules() if isinstance(m, nn.MultiheadAttention))
    if tracked_norms(model) or any(biased) or any(m.in_proj_bias is not None for m in attention):
        return None
    return "This network has no biases and no batch norms, so this repair changes nothing."
