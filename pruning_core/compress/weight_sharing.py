"""Weight sharing: the kept weights of each layer take one of 2^b values, found by k-means.

Deep Compression's second step, without its fine-tuning of the shared values. Han et al. 2016,
arXiv:1510.00149.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pruning_core.model.model_io import first_names
from pruning_core.types import ParameterMasks, PruningError

SHARE_BITS = range(1, 9)
"""A code takes at most one byte."""
MOST_STEPS = 100


def share_weights(
    tensors: Mapping[str, Tensor], masks: ParameterMasks, bits: int
) -> dict[str, Tensor]:
    """The tensors, in which each masked one has at most 2^bits different kept values.

    tensors: a `state_dict` with the masks applied; masks: of the weights to share, each in its
    tensor's own shape, True = keep; bits: 1 to 8. Each weight takes the nearest value. A tensor
    that already has no more values than that stays as it is.
    Raises PruningError for other bits, for weights that are not float, and for weights that are
    not finite.

    >>> weight = torch.tensor([0.0, 1.0, 1.5, 7.0])
    >>> share_weights({"w": weight}, {"w": weight != 0}, bits=1)["w"].tolist()
    [0.0, 1.25, 1.25, 7.0]
    """
    if bits not in SHARE_BITS:
        raise PruningError(f"Shared weights have 1 to {SHARE_BITS[-1]} bits, not {bits}.")
    first = first_names(tensors)
    done: dict[str, Tensor] = {}
    for name, mask in masks.items():
        if first[name] not in done:  # a tensor with two names stays one tensor
            done[first[name]] = _shared(name, tensors[name], mask, 2**bits)
    return {name: done.get(first[name], tensor) for name, tensor in tensors.items()}


def _shared(name: str, tensor: Tensor, mask: Bool[Tensor, "..."], most: int) -> Tensor:
    local = mask.to(tensor.device)
    kept = tensor.detach()[local]
    if not tensor.is_floating_point():
        raise PruningError(f"{name} has no float weights ({tensor.dtype}): they cannot be shared.")
    if not bool(kept.isfinite().all()):
        raise PruningError(f"{name} has weights that are not finite: they cannot be shared.")
    values = kept.double().sort().values
    if len(values) == 0 or 1 + int((values.diff() != 0).sum()) <= most:
        return tensor
    centres = k_means(values, most)
    nearest = torch.searchsorted((centres[1:] + centres[:-1]) / 2, kept.double())
    result = tensor.detach().clone()
    result[local] = centres[nearest].to(tensor.dtype)
    return result


def k_means(values: Float[Tensor, " n"], count: int) -> Float[Tensor, " k"]:
    """The means of `count` clusters of sorted values, in order.

    Linear initialisation: evenly from the smallest value to the largest, as Deep Compression does,
    so the same values always give the same means. A cluster without values keeps its place.
    """
    sums = torch.cat([values.new_zeros(1), values.cumsum(0)])
    centres = torch.linspace(float(values[0]), float(values[-1]), count, dtype=values.dtype)
    centres = centres.to(values.device)
    for _ in range(MOST_STEPS):
        inner = torch.searchsorted(values, (centres[1:] + centres[:-1]) / 2, right=True)
        borders = torch.cat([inner.new_zeros(1), inner, inner.new_tensor([len(values)])])
        members = borders.diff()
        means = sums[borders].diff() / members.clamp(min=1)
        moved = torch.where(members > 0, means, centres)
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres
