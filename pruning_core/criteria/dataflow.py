"""Criteria that read how signals flow through the network, without any data."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pruning_core.criteria.protocol import CriterionBase
from pruning_core.model.inventory import oihw
from pruning_core.model.model_io import copy_model, logits, map_tensors, sample_range
from pruning_core.types import Batches, Inputs, Layer, PruningError, Scores


@dataclass(frozen=True, kw_only=True)
class SynFlow(CriterionBase):
    """Weights on few or weak paths from input to output are removed first.

    s = the rank of removal, in [0, 1). R = sum of the outputs for an input of ones, with the
    absolute value of every parameter and buffer, in double precision and evaluation mode. In round
    k of n, |w dR/dw| of the remaining weights is ranked over all layers, and a fraction
    density^(k / n) of all weights is kept. A group's score is the mean rank of its weights.

    The paper stops at its target. Here one run continues to `density` and serves every sparsity.
    With Global and single weights, the masks at sparsity 1 - density are the paper's. Masks at
    lower sparsities are its path to them. Masks at higher sparsities follow the ranking of the last
    round. (The paper's own run to 80% keeps 96% of the same weights: ResNet-20, Fashion-MNIST.)
    Tokens cannot be ones, so the tokens of one sample are read.

    Raises PruningError without a batch, and if no signal or too large a signal reaches the outputs.
    Tanaka et al. 2020, arXiv:2006.05467.
    """

    rounds: int = 100
    density: float = 0.01

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        if not batches:
            raise PruningError(
                "SynFlow reads the shape of an input: give it one batch; its values do not matter."
            )
        positive, parameters = _positive_copy(model, layers)
        x = map_tensors(sample_range(batches[0][0], 0, 1), _ones_like)
        ranks = self._ranks(positive, parameters, x).split([layer.numel for layer in layers])
        return {
            layer.name: oihw(rank, layer).contiguous()
            for layer, rank in zip(layers, ranks, strict=True)
        }

    def _ranks(self, positive: nn.Module, parameters: list[Tensor], x: Inputs) -> Tensor:
        """Each weight's rank of removal among all weights, divided by their number."""
        total = sum(parameter.numel() for parameter in parameters)
        ranks = np.empty(total, dtype=np.float32)
        remaining = np.arange(total)
        n_removed = 0
        for number in range(1, self.rounds + 1):
            saliency = _saliency(positive, parameters, x)[remaining]
            if number == 1 and not saliency.any():
                raise PruningError(
                    "SynFlow's signal does not reach this network's outputs, so it ranks nothing: "
                    "choose another criterion."
                )
            n_kept = max(1, round(total * self.density ** (number / self.rounds)))
            removed = _lowest(saliency, len(remaining) - n_kept)
            ranks[remaining[removed]] = (n_removed + np.arange(len(removed))) / total
            last_saliency = np.delete(saliency, removed)
            n_removed += len(removed)
            _set_to_zero(parameters, remaining[removed])
            remaining = np.delete(remaining, removed)
        order = last_saliency.argsort(kind="stable")
        ranks[remaining[order]] = (n_removed + np.arange(len(remaining))) / total
        return torch.from_numpy(ranks)


def _ones_like(x: Tensor) -> Tensor:
    """Ones of the same shape if the input is floating point; tokens as they are."""
    return torch.ones(x.shape, dtype=torch.float64) if x.is_floating_point() else x.cpu()


def _positive_copy(model: nn.Module, layers: tuple[Layer, ...]) -> tuple[nn.Module, list[Tensor]]:
    """A copy on the CPU, in double precision, with absolute parameters and buffers; its weights."""
    positive = copy_model(model).cpu().double().eval().requires_grad_(False)
    for tensor in (*positive.parameters(), *positive.buffers()):
        tensor.abs_()
    parameters = [positive.get_parameter(layer.name).requires_grad_(True) for layer in layers]
    return positive, parameters


def _saliency(positive: nn.Module, parameters: Sequence[Tensor], x: Inputs) -> np.ndarray:
    """|w dR/dw| of every weight, in one row.

    Raises PruningError if the signal is too large for double precision.
    """
    with torch.enable_grad():
        slopes = torch.autograd.grad(
            logits(positive, x).sum(), parameters, materialize_grads=True, allow_unused=True
        )
    products = [
        (w.detach() * slope).abs().flatten() for w, slope in zip(parameters, slopes, strict=True)
    ]
    saliency = torch.cat(products)
    if not saliency.isfinite().all():
        raise PruningError(
            "SynFlow's signal grows beyond all numbers in this network: choose another criterion."
        )
    return saliency.numpy()


def _lowest(values: np.ndarray, count: int) -> np.ndarray:
    """Positions of the `count` lowest values, in ascending order of value, ties by position."""
    if count <= 0:
        return np.empty(0, dtype=np.int64)
    threshold = np.partition(values, count - 1)[count - 1]
    below = np.flatnonzero(values < threshold)
    tied = np.flatnonzero(values == threshold)
    return np.concatenate([below[values[below].argsort(kind="stable")], tied[: count - len(below)]])


@torch.no_grad()
def _set_to_zero(parameters: Sequence[Tensor], numbers: np.ndarray) -> None:
    """Sets these weights to zero; weights are numbered through all parameters."""
    sizes = [parameter.numel() for parameter in parameters]
    kept = torch.ones(sum(sizes), dtype=torch.bool)
    kept[torch.from_numpy(numbers)] = False
    for parameter, keep in zip(parameters, kept.split(sizes), strict=True):
        parameter.mul_(keep.view_as(parameter))
