"""Dropout and DropConnect, to see how they differ from pruning: a new random mask in every pass, nothing is gone for good."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pruning_core.granularity import GRANULARITIES, supports
from pruning_core.registry import find
from pruning_core.types import Layer, Masks, PruningError

Mask = Bool[Tensor, "_o _i _h _w"]


def dropout_mask(layer: Layer, rate: float, seed: int) -> Mask:
    """Each output of the layer is dropped with probability `rate`: its whole row goes (True = kept, OIHW).

    y = f(W v) * m / (1 - rate), m ~ Bernoulli(1 - rate), new in every pass of training; without m when the network is used.
    seed: of the pass. Raises PruningError for a rate outside [0, 1) and for the network's outputs.
    Srivastava et al. 2014, JMLR 15.
    """
    if (reason := supports(GRANULARITIES["filter"], layer)) is not None:
        raise PruningError(reason)
    return (_drawn(layer.shape[0], rate, seed) >= rate)[:, None, None, None].expand(layer.shape).clone()


def dropconnect_mask(layer: Layer, rate: float, seed: int) -> Mask:
    """Each weight of the layer is dropped with probability `rate`, one by one (True = kept, OIHW).

    y = f((M * W) v) / (1 - rate) in training, M ~ Bernoulli(1 - rate); W when the network is used. The paper draws M for every
    example, drops biases too and averages f over a normal approximation in use; here M is of one pass, and of weights.
    seed: of the pass. Raises PruningError for a rate outside [0, 1). Wan et al. 2013, ICML.
    """
    return (_drawn(layer.numel, rate, seed) >= rate).view(layer.shape)


@dataclass(frozen=True)
class Regulariser:
    """A way to drop at random. mask: of one pass; formula, source: for people."""

    label: str
    help: str
    formula: str
    source: str
    mask: Callable[[Layer, float, int], Mask]


REGULARISERS: dict[str, Regulariser] = {
    "dropout": Regulariser(
        "Dropout (neurons)",
        "Whole outputs are silent for one pass, others in the next; the finished network uses them all.",
        "y = f(W v) m / (1 - p), m ~ Bernoulli(1 - p) per output",
        "Srivastava et al. 2014, JMLR 15",
        dropout_mask,
    ),
    "dropconnect": Regulariser(
        "DropConnect (weights)",
        "Single weights are zero for one pass, others in the next; the finished network uses them all.",
        "y = f((M * W) v) / (1 - p), M ~ Bernoulli(1 - p) per weight",
        "Wan et al. 2013, ICML",
        dropconnect_mask,
    ),
}


def dropped(weight: Float[Tensor, "_o _i _h _w"], mask: Mask, rate: float) -> Float[Tensor, "_o _i _h _w"]:
    """What one pass of training computes with: w * m / (1 - rate), of mean w and variance w^2 rate / (1 - rate) over masks."""
    return weight * mask / (1 - _checked(rate))


def frozen(name: str, layers: Iterable[Layer], rate: float, seed: int) -> Masks:
    """One sample kept for good: random pruning of neurons or of weights, without the factor 1 / (1 - rate).

    Every layer draws numbers of its own. Unlike the masks of `select` the count is random. Raises PruningError for a name that
    is no regulariser.
    """
    how = find(REGULARISERS, name, "regulariser")
    return {layer.name: how.mask(layer, rate, seed * 1_000_003 + at) for at, layer in enumerate(layers)}


def _checked(rate: float) -> float:
    if not 0 <= rate < 1:
        raise PruningError(f"A drop rate must lie in [0, 1), not {rate}: at 1 nothing would be left.")
    return rate


def _drawn(count: int, rate: float, seed: int) -> Float[Tensor, " n"]:
    _checked(rate)
    return torch.rand(count, generator=torch.Generator().manual_seed(seed))
