"""The bytes of the thinned network: computed from the masks, without making it."""

from math import prod

from torch import nn

from pruning_core.compress.storage_sizes import unmasked_bytes
from pruning_core.compress.thin_network import statistics
from pruning_core.compress.thin_parts import kept_positions, removable_parts, removed_weights
from pruning_core.model.model_io import tensors_of
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
    removed = removed_weights(masked, space.layers, couplings, parts)
    try:
        kept = {name: kept_positions(name, places) for name, places in removed.items()}
    except ValueError:
        return None
    kept |= dict(statistics(masked, kept))
    tensors = tensors_of(masked)
    saved = sum(
        tensors[name].nbytes - _bytes_left(tensors[name].shape, tensors[name].itemsize, axes)
        for name, axes in kept.items()
    )
    return unmasked_bytes(tensors, Masks()) - saved


def _bytes_left(shape: tuple[int, ...], itemsize: int, axes: dict[int, list[int]]) -> int:
    lengths = [len(axes[axis]) if axis in axes else length for axis, length in enumerate(shape)]
    return itemsize * prod(lengths)
