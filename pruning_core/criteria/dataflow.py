"""Criteria that look at how signals could flow through the network, without any data."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from pruning_core.model.inventory import oihw
from pruning_core.model.model_io import each, logits, part
from pruning_core.types import Batches, Inputs, Layer, PruningError, Scores


@dataclass(frozen=True)
class SynFlow:
    """Iterative synaptic flow: s = the place, in [0, 1), in which a weight goes (Tanaka et al.
    2020, arXiv:2006.05467).

    R = sum of the outputs for an input of ones, all parameters and buffers replaced by their size,
    in double precision and evaluation mode. In round k of n, |w dR/dw| of what is left is ranked
    over all layers and a share density^(k / n) of the weights is kept. The paper stops at its
    target; here one run goes down to `density` and serves every sparsity: with Global and single
    weights the masks at sparsity 1 - density are the paper's, those before are its path towards
    them, those beyond follow the last round's ranking (a run of the paper's own to 80% keeps 96% of
    the same weights, ResNet-20, Fashion-MNIST). Groups have the mean place of their weights. Tokens
    have no ones: one sample's tokens are read. Raises PruningError without a batch, and where no
    signal comes through or too large a one.
    """

    help: ClassVar[str] = (
        "Weights on few or thin paths from input to output go first, in 100 rounds, so that no layer is cut through. Needs no "
        "data. Made for plain ReLU networks; layer norm and softmax bend its flow."
    )
    formula: ClassVar[str] = (
        "R = sum of f(1; |w|); |w dR/dw| ranked in 100 rounds, keeping 0.01^(k/100); s = place of removal; group: mean"
    )
    source: ClassVar[str] = "Tanaka et al. 2020 (SynFlow), arXiv:2006.05467"
    needs: ClassVar[str] = "the shape of an input"
    passes: ClassVar[str] = "100 forward, 100 backward, of one blank input in double precision"
    runs_network: ClassVar[bool] = True
    needs_data: ClassVar[bool] = False
    per_filter: ClassVar[bool] = False
    label: str = "SynFlow"
    pool: str = "mean_abs"
    rounds: int = 100
    density: float = 0.01

    def supports(self, layer: Layer) -> str | None:
        return None

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        if not batches:
            raise PruningError(
                "SynFlow reads the shape of an input: give it one batch, whose values do not matter."
            )
        work, parameters = _positive(model, layers)
        x = each(part(batches[0][0], 0, 1), _of_ones)
        places = self._places(work, parameters, x)
        parts = places.split([layer.numel for layer in layers])
        return {layer.name: oihw(part, layer) for layer, part in zip(layers, parts, strict=True)}

    def _places(self, work: nn.Module, parameters: list[Tensor], x: Inputs) -> Tensor:
        """Each weight's place among all, over their number."""
        total = sum(parameter.numel() for parameter in parameters)
        places = np.empty(total, dtype=np.float32)
        left = np.arange(total)
        gone = 0
        for number in range(1, self.rounds + 1):
            found = _saliency(work, parameters, x)[left]
            if number == 1 and not found.any():
                raise PruningError(
                    "SynFlow's signal does not reach this network's outputs, so it ranks nothing: choose another one."
                )
            go = _lowest(
                found, len(left) - max(1, round(total * self.density ** (number / self.rounds)))
            )
            places[left[go]] = (gone + np.arange(len(go))) / total
            last = np.delete(found, go)
            gone = gone + len(go)
            _remove(parameters, left[go])
            left = np.delete(left, go)
        places[left[last.argsort(kind="stable")]] = (gone + np.arange(len(left))) / total
        return torch.from_numpy(places)


def _of_ones(x: Tensor) -> Tensor:
    """Ones where the input is made of numbers; tokens stay what they are."""
    return torch.ones(x.shape, dtype=torch.float64) if x.is_floating_point() else x.cpu()


def _positive(model: nn.Module, layers: tuple[Layer, ...]) -> tuple[nn.Module, list[Tensor]]:
    """A copy on the CPU with the size of every parameter and buffer in its place, in double
    precision, and its weights.
    """
    work = deepcopy(model).cpu().double().eval().requires_grad_(False)
    for tensor in (*work.parameters(), *work.buffers()):
        tensor.abs_()
    return work, [work.get_parameter(layer.name).requires_grad_(True) for layer in layers]


def _saliency(work: nn.Module, parameters: Sequence[Tensor], x: Inputs) -> np.ndarray:
    """|w dR/dw| of every weight, one after the other. Raises PruningError where the signal is too
    large for double precision.
    """
    with torch.enable_grad():
        slopes = torch.autograd.grad(
            logits(work, x).sum(), parameters, materialize_grads=True, allow_unused=True
        )
    found = torch.cat(
        [(w.detach() * slope).abs().flatten() for w, slope in zip(parameters, slopes, strict=True)]
    )
    if not found.isfinite().all():
        raise PruningError(
            "SynFlow's signal grows beyond all numbers in this network: choose another criterion."
        )
    return found.numpy()


def _lowest(values: np.ndarray, count: int) -> np.ndarray:
    """Where the `count` lowest values are, the lowest first, ties in order."""
    if count <= 0:
        return np.empty(0, dtype=np.int64)
    threshold = np.partition(values, count - 1)[count - 1]
    below = np.flatnonzero(values < threshold)
    tied = np.flatnonzero(values == threshold)
    return np.concatenate([below[values[below].argsort(kind="stable")], tied[: count - len(below)]])


@torch.no_grad()
def _remove(parameters: Sequence[Tensor], gone: np.ndarray) -> None:
    """Sets those weights, numbered through all parameters, to zero."""
    kept = torch.ones(sum(parameter.numel() for parameter in parameters), dtype=torch.bool)
    kept[torch.from_numpy(gone)] = False
    for parameter, keep in zip(
        parameters, kept.split([parameter.numel() for parameter in parameters]), strict=True
    ):
        parameter.mul_(keep.view_as(parameter))
