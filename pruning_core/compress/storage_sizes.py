"""The bytes of a pruned network in every storage format: computed, and measured by writing it."""

import lzma
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from safetensors.torch import save
from torch import Tensor, nn

from pruning_core.compress.sparse_file import first_names, write_sparse
from pruning_core.granularity import Granularity, to_groups
from pruning_core.model.model_io import tensors_of
from pruning_core.types import Layer, Masks, ParameterMasks

INDEX_BITS = 32
"""Bits of an index in COO and CSR, as libraries store them."""
GAP_BITS = {True: 5, False: 8}
"""Bits of a relative index: of Linear layers, and of convolutions. Han et al. 2016, 1510.00149."""
GROUP_GAP_BITS = 4
"""Bits of a relative index of groups. Mao et al. 2017, arXiv:1705.08922."""


@dataclass(frozen=True)
class MaskedLayer:
    """What a format's size depends on.

    keep: O x I x H x W; bits: of one value; groups: kept groups, scope x group, and size: weights
    of a group, at the plan's granularity; n_of_m: the granularity keeps N of M.
    """

    layer: Layer
    keep: Bool[Tensor, "o i h w"]
    bits: int
    groups: Bool[Tensor, "s g"]
    size: int
    n_of_m: bool

    @property
    def nonzeros(self) -> int:
        """Number of weights that are kept."""
        return int(self.keep.sum())


@dataclass(frozen=True)
class StorageFormat:
    """A way to store a masked tensor. bits: its size in bits, None where it cannot be stored so."""

    name: str
    label: str
    help: str
    bits: Callable[[MaskedLayer], int | None]


@dataclass(frozen=True)
class StoredSize:
    """Bytes of the whole network in one format. measured: a file was written; else computed."""

    format: str
    label: str
    bytes: int
    measured: bool


def dense_bits(masked: MaskedLayer) -> int:
    """N b: every value."""
    return masked.keep.numel() * masked.bits


def bitmap_bits(masked: MaskedLayer) -> int:
    """N + a b: one bit per value, and the a nonzeros."""
    return masked.keep.numel() + masked.nonzeros * masked.bits


def coo_bits(masked: MaskedLayer) -> int:
    """a (b + 32): each nonzero with its position as a 32-bit number."""
    return masked.nonzeros * (masked.bits + INDEX_BITS)


def csr_bits(masked: MaskedLayer) -> int:
    """a (b + 32) + (rows + 1) 32: as COO with columns only, and where each output's row starts."""
    return coo_bits(masked) + (masked.keep.shape[0] + 1) * INDEX_BITS


def relative_bits(masked: MaskedLayer) -> int:
    """(a + fillers) (b + k): each nonzero with its distance from the one before, in k bits.

    A distance above 2^k needs a filler zero. Han et al. 2016, arXiv:1510.00149.
    """
    k = GAP_BITS[masked.layer.linear]
    return (masked.nonzeros + fillers(masked.keep.reshape(-1), k)) * (masked.bits + k)


def group_bits(masked: MaskedLayer) -> int:
    """(kept groups + fillers) (size b + 4): one 4-bit distance per group, not per weight.

    Mao et al. 2017, arXiv:1705.08922.
    """
    stored = int(masked.groups.sum()) + fillers(masked.groups.reshape(-1), GROUP_GAP_BITS)
    return stored * (masked.size * masked.bits + GROUP_GAP_BITS)


def n_of_m_bits(masked: MaskedLayer) -> int | None:
    """a (b + ceil(log2 M)): each nonzero with its place among M. Only for N:M granularities.

    Mishra et al. 2021, arXiv:2104.08378.
    """
    if not masked.n_of_m:
        return None
    return masked.nonzeros * (masked.bits + math.ceil(math.log2(masked.groups.shape[1])))


def fillers(keep: Bool[Tensor, " n"], bits: int) -> int:
    """Number of filler entries, where distances from 1 to 2^bits can be written.

    >>> fillers(torch.tensor([1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]).bool(), 3)
    1
    """
    places: Int[Tensor, " a"] = keep.nonzero().reshape(-1)
    distances = torch.diff(places, prepend=places.new_tensor([-1]))
    return int(((distances - 1) // 2**bits).sum())


FORMATS: dict[str, StorageFormat] = {
    entry.name: entry
    for entry in (
        StorageFormat("dense", "Dense", "Every value, zeros too.", dense_bits),
        StorageFormat("bitmap", "Bitmap", "One bit per value, and the nonzeros.", bitmap_bits),
        StorageFormat("coo", "COO", "Each nonzero with its 32-bit position.", coo_bits),
        StorageFormat("csr", "CSR", "Nonzeros by rows, each with its 32-bit column.", csr_bits),
        StorageFormat(
            "relative",
            "Relative index",
            "Each nonzero with its distance from the one before: 8 bits in convolutions, 5 in "
            "linear layers, with filler zeros (Han et al. 2016).",
            relative_bits,
        ),
        StorageFormat(
            "group",
            "Index per group",
            "One 4-bit distance per kept group of the granularity (Mao et al. 2017).",
            group_bits,
        ),
        StorageFormat(
            "n_of_m",
            "N:M packed",
            "Each nonzero with its place among M, as sparse tensor cores read it.",
            n_of_m_bits,
        ),
    )
}
"""The formats whose size is computed, by name."""


def storage_sizes(
    model: nn.Module,
    layers: Sequence[Layer],
    masks: Masks,
    granularity: Granularity,
    by_parameter: ParameterMasks,
) -> tuple[StoredSize, ...]:
    """Bytes of a masked network in every format, largest information first: dense, then sparse.

    model: with the masks applied; masks: of the layers, O x I x H x W; by_parameter: all masks in
    the parameters' own shapes, dependent ones included (`export.masks_by_parameter`).
    Tensors without a mask count in full in every format. A tensor that has several names counts
    once. Measured are: gzip and xz of the dense file, and the sparse file.
    """
    state = tensors_of(model)
    names = list(dict.fromkeys(first_names(state).values()))
    computed = computed_sizes(model, layers, masks, granularity)
    return (*computed, *_measured(state, names, by_parameter))


def computed_sizes(
    model: nn.Module, layers: Sequence[Layer], masks: Masks, granularity: Granularity
) -> tuple[StoredSize, ...]:
    """The computed part of `storage_sizes`: quick, because nothing is written."""
    state = tensors_of(model)
    names = list(dict.fromkeys(first_names(state).values()))
    rest = sum(state[name].nbytes for name in names if name not in masks)
    masked = [
        _masked(layer, masks[layer.name], state[layer.name], granularity)
        for layer in layers
        if layer.name in masks
    ]
    return tuple(
        StoredSize(entry.name, entry.label, rest + total, False)
        for entry in FORMATS.values()
        if (total := _total_bytes(entry, masked)) is not None
    )


def _total_bytes(entry: StorageFormat, masked: Sequence[MaskedLayer]) -> int | None:
    """Bytes of all masked layers, whole bytes for each; None where one cannot be stored so."""
    bits = [entry.bits(layer) for layer in masked]
    known = [number for number in bits if number is not None]
    return sum(-(-number // 8) for number in known) if len(known) == len(bits) else None


def _measured(
    state: Mapping[str, Tensor], names: Sequence[str], masks: ParameterMasks
) -> tuple[StoredSize, ...]:
    dense = save({name: state[name].detach().cpu().contiguous().clone() for name in names})
    sparse = write_sparse(state, {name: mask for name, mask in masks.items() if name in names})
    return (
        StoredSize("gzip", "gzip of the dense file", len(zlib.compress(dense, 9)), True),
        StoredSize("xz", "xz of the dense file", len(lzma.compress(dense)), True),
        StoredSize("sparse", "Sparse file", len(sparse), True),
    )


def _masked(
    layer: Layer, keep: Bool[Tensor, "o i h w"], tensor: Tensor, granularity: Granularity
) -> MaskedLayer:
    grouped = to_groups(keep, granularity, layer)
    bits = 8 * tensor.element_size()
    n_of_m = granularity.n_kept is not None
    return MaskedLayer(layer, keep, bits, grouped.any(-1), grouped.shape[-1], n_of_m)
