"""Layer, group and RMS norms that leave channels with a scale of zero out of their averages.

Exported scripts contain this code, so it needs torch alone.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


def standardised(rows: Tensor, kept: Tensor, eps: float | None, centre: bool) -> Tensor:
    """Rows over the last axis: what is kept of each has mean 0 and mean square 1."""
    eps = torch.finfo(rows.dtype).eps if eps is None else eps
    wide = rows if rows.dtype == torch.float64 else rows.float()
    count = kept.sum(-1, keepdim=True).clamp(min=1)
    if centre:
        wide = wide - wide.masked_fill(~kept, 0).sum(-1, keepdim=True) / count
    wide = wide.masked_fill(~kept, 0)
    square = wide.square().sum(-1, keepdim=True) / count
    return (wide * (square + eps).rsqrt()).to(rows.dtype)


def all_kept(weight: Tensor) -> bool:
    """Has no channel a scale of zero?"""
    return bool((weight != 0).all())


def layer_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *_cudnn: bool,
) -> Tensor:
    """F.layer_norm."""
    if weight is None or all_kept(weight):
        return F.layer_norm(x, list(normalized_shape), weight, bias, eps)
    rows = x.flatten(x.ndim - len(normalized_shape))
    out = standardised(rows, (weight != 0).flatten(), eps, True).reshape(x.shape) * weight
    return out if bias is None else out + bias


def rms_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """F.rms_norm."""
    if weight is None or all_kept(weight):
        return F.rms_norm(x, list(normalized_shape), weight, eps)
    rows = x.flatten(x.ndim - len(normalized_shape))
    return standardised(rows, (weight != 0).flatten(), eps, False).reshape(x.shape) * weight


def group_norm(
    x: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *_cudnn: bool,
) -> Tensor:
    """F.group_norm."""
    if weight is None or all_kept(weight):
        return F.group_norm(x, num_groups, weight, bias, eps)
    along = (-1, *(1,) * (x.ndim - 2))
    kept = (weight != 0).view(along).expand(x.shape[1:]).reshape(num_groups, -1)
    rows = x.reshape(len(x), num_groups, -1)
    out = standardised(rows, kept, eps, True).reshape(x.shape) * weight.view(along)
    return out if bias is None else out + bias.view(along)


def written_rms_norm(plain: Callable[..., Tensor], norm: Any, eps: float) -> Callable[..., Tensor]:
    """The forward method of a module that computes an RMS norm by itself. plain: its own one."""

    def forward(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if all_kept(norm.weight):
            return plain(x, *args, **kwargs)
        return rms_norm(x, norm.weight.shape, norm.weight, eps)

    return forward


OVER_KEPT: dict[Any, Callable[..., Tensor]] = {
    F.layer_norm: layer_norm,
    torch.layer_norm: layer_norm,
    F.rms_norm: rms_norm,
    torch.rms_norm: rms_norm,
    F.group_norm: group_norm,
    torch.group_norm: group_norm,
}


class KeptAverages(TorchFunctionMode):
    """A mode in which torch's norms over channels leave those with a scale of zero out."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return OVER_KEPT.get(func, func)(*args, **(kwargs or {}))
