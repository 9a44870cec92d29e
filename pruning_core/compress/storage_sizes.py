"""The bytes of a pruned network in every storage format: computed, and measured by writing it."""

import lzma
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from safetensors.torch import save
from torch import Tensor, nn

from pruning_core.compress.sparse_file import write_sparse
from pruning_core.compress.storage_formats import FORMATS, count_layer, crossover, total_bytes
from pruning_core.granularity import Granularity
from pruning_core.model.model_io import first_names, tensors_of
from pruning_core.types import Layer, Masks, ParameterMasks

FILES = {
    "gzip": ("gzip of the dense file", "gzip, then every program that reads safetensors."),
    "xz": ("xz of the dense file", "xz, then every program that reads safetensors."),
    "sparse": ("Sparse file", "load_sparse.py, with torch and safetensors alone."),
}
"""The files that are written to measure them, by name: label, and which program reads it."""


@dataclass(frozen=True)
class StoredSize:
    """Bytes of the whole network in one format. measured: a file was written; else computed.

    crossover: the sparsity of the masked layers above which the format is smaller than dense; None
    where there is none or it is not known. read_by: which program reads it.
    """

    format: str
    label: str
    bytes: int
    measured: bool
    crossover: float | None = None
    read_by: str = ""


def storage_sizes(
    model: nn.Module,
    layers: Sequence[Layer],
    masks: Masks,
    granularity: Granularity,
    by_parameter: ParameterMasks,
    index_bits: int | None = None,
) -> tuple[StoredSize, ...]:
    """Bytes of a masked network in every format, largest information first: dense, then sparse.

    model: with the masks applied; masks: of the layers, O x I x H x W; by_parameter: all masks in
    the parameters' own shapes, dependent ones included (`export.masks_by_parameter`).
    index_bits: as in `count_layer`.
    Tensors without a mask count in full in every format. A tensor that has several names counts
    once. Measured are: gzip and xz of the dense file, and the sparse file.
    """
    computed = computed_sizes(model, layers, masks, granularity, index_bits)
    return (*computed, *measured_sizes(model, by_parameter))


def computed_sizes(
    model: nn.Module,
    layers: Sequence[Layer],
    masks: Masks,
    granularity: Granularity,
    index_bits: int | None = None,
) -> tuple[StoredSize, ...]:
    """The computed part of `storage_sizes`: quick, because nothing is written."""
    state = tensors_of(model)
    rest = unmasked_bytes(state, masks)
    counts = [
        count_layer(
            layer, masks[layer.name], 8 * state[layer.name].element_size(), granularity, index_bits
        )
        for layer in layers
        if layer.name in masks
    ]
    return tuple(
        StoredSize(
            entry.name, entry.label, rest + total, False, crossover(entry, counts), entry.read_by
        )
        for entry in FORMATS.values()
        if (total := total_bytes(entry, counts)) is not None
    )


def dense_stored(sizes: Sequence[StoredSize]) -> int:
    """The bytes of dense storage, which is one of the sizes."""
    return next(size.bytes for size in sizes if size.format == "dense")


def smallest_stored(sizes: Sequence[StoredSize]) -> StoredSize:
    """The smallest of the formats that store only nonzeros and where they stand."""
    return min((size for size in sizes if size.format != "dense"), key=lambda size: size.bytes)


def stored_share(
    model: nn.Module, layers: Sequence[Layer], masks: Masks, granularity: Granularity
) -> float:
    """Bytes in the smallest sparse format / dense bytes, computed."""
    sizes = computed_sizes(model, layers, masks, granularity)
    return smallest_stored(sizes).bytes / dense_stored(sizes)


def measured_sizes(model: nn.Module, by_parameter: ParameterMasks) -> tuple[StoredSize, ...]:
    """The measured part of `storage_sizes`: about a second per million kept weights."""
    state = tensors_of(model)
    names = _stored_names(state)
    dense = save({name: state[name].detach().cpu().contiguous().clone() for name in names})
    kept = {name: mask for name, mask in by_parameter.items() if name in names}
    content = {
        "gzip": zlib.compress(dense, 9),
        "xz": lzma.compress(dense),
        "sparse": write_sparse(state, kept),
    }
    return tuple(
        StoredSize(name, FILES[name][0], len(part), True, read_by=FILES[name][1])
        for name, part in content.items()
    )


def unmasked_bytes(state: Mapping[str, Tensor], masks: Masks) -> int:
    """Bytes of the tensors that have no mask, each tensor once."""
    return sum(state[name].nbytes for name in _stored_names(state) if name not in masks)


def _stored_names(state: Mapping[str, Tensor]) -> list[str]:
    """The names of the tensors, each tensor once."""
    return list(dict.fromkeys(first_names(state).values()))
