"""Criteria that read how signals flow through the network, without any data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pruning_core.criteria.protocol import CriterionBase
from pruning_core.model.checkpointing import refuse_reentrant
from pruning_core.model.gradients import NO_GRADIENT
from pruning_core.model.inventory import oihw
from pruning_core.model.model_io import (
    call,
    copy_model,
    map_tensors,
    sample_count,
    sample_range,
)
from pruning_core.model.precision import in_float32
from pruning_core.ranking import kth_smallest
from pruning_core.types import Batches, Inputs, Layer, PruningError, Scores, task_of
from pruning_core.user_code import user_code

PASS = "SynFlow's pass through the network"


@dataclass(frozen=True, kw_only=True)
class SynFlow(CriterionBase):
    """Weights on few or weak paths from input to output are removed first.

    s = the rank of removal, in [0, 1). R = sum of the outputs for an input of ones, with the
    absolute value of every parameter and buffer, in double precision (single, where the network
    computes a part in that by itself) and evaluation mode. In round
    k of n, |w dR/dw| of the remaining weights is ranked over all layers, and
    total - int((1 - density^(k / n)) total) weights are kept, as in the authors' code. A group's
    score is the mean rank of its weights.

    The paper stops at its target. Here one run continues to `density` and serves every sparsity.
    With Global and single weights, the masks at sparsity 1 - density are the paper's. Masks at
    lower sparsities are its path to them. Masks at higher sparsities follow the ranking of the last
    round. (The paper's own run to 80% keeps 96% of the same weights: ResNet-20, Fashion-MNIST.)
    No layer of a plain chain is emptied; where a skip goes round a layer, that layer can be.
    Tokens cannot be ones, so the tokens of one sample are read.

    Raises PruningError without a batch, and if no signal or too large a signal reaches the outputs.
    Tanaka et al. 2020, arXiv:2006.05467.
    """

    rounds: int = 100
    density: float = 0.01

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        filled = [x for x, _ in batches if sample_count(x)]
        if not filled:
            raise PruningError(
                "SynFlow reads the shape of an input: give it one batch; its values do not matter."
            )
        x = map_tensors(sample_range(filled[0], 0, 1), _ones_like)
        positive, parameters = _running_copy(in_float32(model), layers, x)
        outputs = task_of(batches).outputs
        ranks = self._ranks(partial(_slopes, positive, parameters, x, outputs), parameters)
        sizes = [layer.numel for layer in layers]
        return {
            layer.name: oihw(rank, layer).contiguous()
            for layer, rank in zip(layers, ranks.split(sizes), strict=True)
        }

    def _ranks(self, slopes: Callable[[], Sequence[Tensor]], parameters: list[Tensor]) -> Tensor:
        """Each weight's rank of removal among all weights, divided by their number."""
        weights = _Remaining(parameters)
        total = len(weights.numbers)
        ranks = np.empty(total, dtype=np.float32)
        n_removed = 0
        for number in range(1, self.rounds + 1):
            saliency = weights.saliency(slopes())
            if number == 1 and not saliency.any():
                raise PruningError(
                    "SynFlow's signal does not reach this network's outputs, so it ranks nothing: "
                    "choose another criterion."
                )
            share_removed = 1.0 - self.density ** (number / self.rounds)
            n_kept = max(1, total - int(share_removed * total))
            removed = _lowest(saliency, len(saliency) - n_kept)
            ranks[weights.numbers[removed]] = (n_removed + np.arange(len(removed))) / total
            last_saliency = np.delete(saliency, removed)
            n_removed += len(removed)
            weights.remove(removed)
        order = last_saliency.argsort(kind="stable")
        ranks[weights.numbers[order]] = (n_removed + np.arange(len(order))) / total
        return torch.from_numpy(ranks)


class _Remaining:
    """The weights that are not removed yet, numbered through all parameters.

    Later rounds read few weights: after half of the rounds of 100, one in ten remains.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters = parameters
        self._ends = np.cumsum([parameter.numel() for parameter in parameters])
        self.numbers = np.arange(self._ends[-1])
        self._values = np.concatenate([p.detach().flatten().numpy() for p in parameters])

    def saliency(self, slopes: Sequence[Tensor]) -> np.ndarray:
        """|w dR/dw| of each. Raises PruningError if one is too large for double precision."""
        row = np.empty(len(self.numbers))
        for (start, stop), places, slope in zip(self._parts(), self._places(), slopes, strict=True):
            np.take(slope.flatten().numpy(), places, out=row[start:stop])
        with np.errstate(over="ignore", invalid="ignore"):
            row *= self._values
        np.abs(row, out=row)
        if not (np.isfinite(row.max(initial=0.0)) and all(_finite(slope) for slope in slopes)):
            raise PruningError(
                "SynFlow's signal grows beyond all numbers in this network: choose another "
                "criterion."
            )
        return row

    def remove(self, positions: np.ndarray) -> None:
        """Removes the weights at these positions of the remaining ones, and sets them to zero."""
        removed = np.zeros(len(self.numbers), dtype=bool)
        removed[positions] = True
        with torch.no_grad():
            for (start, stop), places, parameter in zip(
                self._parts(), self._places(), self._parameters, strict=True
            ):
                chosen = torch.from_numpy(places[removed[start:stop]])
                parameter.view(-1)[chosen] = 0
        self.numbers = self.numbers[~removed]
        self._values = self._values[~removed]

    def _parts(self) -> list[tuple[int, int]]:
        """For each parameter, which of the remaining weights are its own."""
        stops = np.searchsorted(self.numbers, self._ends).tolist()
        return list(zip([0, *stops[:-1]], stops, strict=True))

    def _places(self) -> list[np.ndarray]:
        """For each parameter, the places of its remaining weights in it."""
        starts = self._ends - np.array([parameter.numel() for parameter in self._parameters])
        return [
            self.numbers[start:stop] - first
            for (start, stop), first in zip(self._parts(), starts, strict=True)
        ]


def _finite(values: Tensor) -> bool:
    # A NaN makes both extremes NaN.
    return all(bool(extreme.isfinite()) for extreme in values.aminmax())


def _ones_like(x: Tensor) -> Tensor:
    """Ones of the same shape if the input is floating point; tokens as they are."""
    return torch.ones(x.shape, dtype=torch.float64) if x.is_floating_point() else x.cpu()


def _running_copy(
    model: nn.Module, layers: tuple[Layer, ...], x: Inputs
) -> tuple[nn.Module, list[Tensor]]:
    """A positive copy that runs, and its weights. Raises PruningError where none does."""
    try:
        positive = _positive_copy(model, x, torch.float64)
    except PruningError:
        positive = _positive_copy(model, x, torch.float32)
    parameters = [positive.get_parameter(layer.name) for layer in layers]
    return positive, [parameter.requires_grad_(True) for parameter in parameters]


def _positive_copy(model: nn.Module, x: Inputs, dtype: torch.dtype) -> nn.Module:
    """A copy on the CPU, of this type, with absolute parameters and buffers.

    Raises PruningError where it does not run.
    """
    positive = copy_model(model).cpu().eval().requires_grad_(False)
    positive = positive.double() if dtype == torch.float64 else positive.float()
    for tensor in (*positive.parameters(), *positive.buffers()):
        # Not in place, which complex numbers do not allow. In the order of the elements, whatever
        # the layout in memory is, because weights are counted through.
        own = dtype.to_complex() if tensor.is_complex() else tensor.dtype
        values = tensor.abs().to(own)
        tensor.data = values.contiguous() if values.layout == torch.strided else values
    refuse_reentrant(positive, x, PASS)
    return positive


def _slopes(
    positive: nn.Module,
    parameters: Sequence[Tensor],
    x: Inputs,
    outputs: Callable[[Any], Tensor],
) -> tuple[Tensor, ...]:
    """dR/dw of every parameter, zero for one that is not used."""
    with user_code(PASS), torch.enable_grad():
        total = outputs(call(positive, x)).sum()
        if not total.requires_grad:
            raise PruningError(NO_GRADIENT)
        slopes = torch.autograd.grad(total, parameters, materialize_grads=True, allow_unused=True)
    return tuple(slope.double() for slope in slopes)


def _lowest(values: np.ndarray, count: int) -> np.ndarray:
    """Positions of the `count` lowest values, in ascending order of value, ties by position.

    values: none is below zero.
    """
    if count <= 0:
        return np.empty(0, dtype=np.int64)
    if count <= np.count_nonzero(values == 0):
        # No saliency is below zero. Very many equal values would make a partition slow.
        return np.flatnonzero(values == 0)[:count]
    threshold = kth_smallest([values], count).value
    below = np.flatnonzero(values < threshold)
    tied = np.flatnonzero(values == threshold)
    return np.concatenate([below[values[below].argsort(kind="stable")], tied[: count - len(below)]])
