"""The bytes of the thinned network: computed from the masks, without making it."""

from math import prod

from torch import nn

from pruning_core.compress.thin_network import kept_without
from pruning_core.compress.thin_parts import removable_parts
from pruning_core.model.model_io import tensor_bytes, tensors_of
from pruning_core.types import Masks
from pruning_core.workspaces import Workspace


def thinned_bytes(masked: nn.Module, space: Workspace, masks: Masks) -> int | None:
    """Bytes of all tensors of the thinned network, each once.

    None where the couplings are not known, or where what is removed is no block of a tensor. `thin`
    may keep more: it also runs the network. masked: with the masks applied, of `space`.
    """
    couplings, unknown = space.tied
    if unknown:
        return None
    parts = removable_parts(masked, space.layers, masks, couplings).parts
    try:
        kept = kept_without(parts, masked, space.layers, couplings)
    except ValueError:
        return None
    tensors = tensors_of(masked)
    saved = sum(
        tensors[name].nbytes - _bytes_left(tensors[name].shape, tensors[name].itemsize, axes)
        for name, axes in kept.items()
    )
    return tensor_bytes(masked) - saved


def _bytes_left(shape: tuple[int, ...], itemsize: int, axes: dict[int, list[int]]) -> int:
    lengths = [len(axes[axis]) if axis in axes else length for axis, length in enumerate(shape)]
    return itemsize * prod(lengths)
