"""Formats of sparse tensors: the size that their formulas give, and which program reads them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from pruning_core.granularity import Granularity, supports, to_groups
from pruning_core.types import Layer, PruningError

INDEX_BITS = 32
"""Bits of an index in COO and CSR, as libraries store them."""
GAP_BITS = {True: 5, False: 8}
"""Bits of a relative index: of Linear layers, and of convolutions. Han et al. 2016, 1510.00149."""
GROUP_GAP_BITS = 4
"""Bits of a relative index of groups. Mao et al. 2017, arXiv:1705.08922."""
MAX_GAP_BITS = 32


@dataclass(frozen=True)
class LayerCounts:
    """All that the size of a stored layer depends on.

    values: N; nonzeros: a; rows: outputs; bits: b, of one value; gap_bits: k, of a distance between
    nonzeros; fillers: entries that only fill distances above 2^k; groups, kept_groups, group_size:
    at the plan's granularity; group_gap_bits, group_fillers: the same for distances between
    groups; block: M of an N:M granularity, else None.
    """

    values: int
    nonzeros: int
    rows: int
    bits: int
    gap_bits: int
    fillers: int
    groups: int
    kept_groups: int
    group_size: int
    group_gap_bits: int
    group_fillers: int
    block: int | None

    def all_kept(self) -> "LayerCounts":
        """The counts with no weight removed."""
        return self._evenly(self.values, self.groups)

    def all_removed(self) -> "LayerCounts":
        """The counts with every weight removed."""
        return self._evenly(0, 0)

    def _evenly(self, nonzeros: int, kept_groups: int) -> "LayerCounts":
        return replace(self, nonzeros=nonzeros, kept_groups=kept_groups, fillers=0, group_fillers=0)


@dataclass(frozen=True)
class StorageFormat:
    """A way to store a masked tensor.

    read_by: which program reads it; bits: its size, None where it cannot store such a mask.
    """

    name: str
    label: str
    help: str
    read_by: str
    bits: Callable[[LayerCounts], int | None]


def count_layer(
    layer: Layer,
    keep: Bool[Tensor, "o i h w"],
    bits: int,
    granularity: Granularity,
    index_bits: int | None = None,
) -> LayerCounts:
    """The counts of a layer's mask. bits: of one value; index_bits: of every distance.

    Without index_bits the papers' are used: `GAP_BITS` and `GROUP_GAP_BITS`. In a layer that the
    granularity cannot divide, as a sparse start has them, each weight is a group of its own.
    Raises PruningError for index_bits outside of 1 to 32.
    """
    gap_bits = gap_bits_of(layer, index_bits)
    divided = supports(granularity, layer) is None
    grouped = to_groups(keep, granularity, layer) if divided else keep.reshape(1, -1, 1)
    kept = grouped.any(-1)
    group_gap_bits = index_bits or GROUP_GAP_BITS
    return LayerCounts(
        values=keep.numel(),
        nonzeros=int(keep.sum()),
        rows=keep.shape[0],
        bits=bits,
        gap_bits=gap_bits,
        fillers=fillers(keep.reshape(-1), gap_bits),
        groups=kept.numel(),
        kept_groups=int(kept.sum()),
        group_size=grouped.shape[-1],
        group_gap_bits=group_gap_bits,
        group_fillers=fillers(kept.reshape(-1), group_gap_bits),
        block=grouped.shape[1] if divided and granularity.n_kept is not None else None,
    )


def gap_bits_of(layer: Layer, index_bits: int | None) -> int:
    """Bits of a distance between nonzeros.

    Raises PruningError for index_bits outside of 1 to 32.
    """
    if index_bits is None:
        return GAP_BITS[layer.linear]
    if not 1 <= index_bits <= MAX_GAP_BITS:
        raise PruningError(f"An index has 1 to {MAX_GAP_BITS} bits, not {index_bits}.")
    return index_bits


def fillers(keep: Bool[Tensor, " n"], bits: int) -> int:
    """Number of filler entries, where distances from 1 to 2^bits can be written.

    >>> fillers(torch.tensor([1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]).bool(), 3)
    1
    """
    return int((gaps(keep) // 2**bits).sum())


def gaps(keep: Bool[Tensor, " n"]) -> Int[Tensor, " a"]:
    """Number of zeros before each nonzero, since the one before it: the distance minus 1."""
    places: Int[Tensor, " a"] = keep.nonzero().reshape(-1)
    return torch.diff(places, prepend=places.new_tensor([-1])) - 1


def dense_bits(counts: LayerCounts) -> int:
    """N b: every value."""
    return counts.values * counts.bits


def bitmap_bits(counts: LayerCounts) -> int:
    """N + a b: one bit per value, and the a nonzeros."""
    return counts.values + counts.nonzeros * counts.bits


def coo_bits(counts: LayerCounts) -> int:
    """a (b + 32): each nonzero with its position as a 32-bit number."""
    return counts.nonzeros * (counts.bits + INDEX_BITS)


def csr_bits(counts: LayerCounts) -> int:
    """a (b + 32) + (rows + 1) 32: as COO with columns only, and where each output's row starts."""
    return coo_bits(counts) + (counts.rows + 1) * INDEX_BITS


def relative_bits(counts: LayerCounts) -> int:
    """(a + fillers) (b + k): each nonzero with its distance from the one before, in k bits.

    A distance above 2^k needs a filler zero. Han et al. 2016, arXiv:1510.00149.
    """
    return (counts.nonzeros + counts.fillers) * (counts.bits + counts.gap_bits)


def group_bits(counts: LayerCounts) -> int:
    """(kept groups + fillers) (size b + k): one distance per group, not per weight.

    Mao et al. 2017, arXiv:1705.08922.
    """
    stored = counts.kept_groups + counts.group_fillers
    return stored * (counts.group_size * counts.bits + counts.group_gap_bits)


def n_of_m_bits(counts: LayerCounts) -> int | None:
    """a (b + ceil(log2 M)): each nonzero with its place among M. Only for N:M granularities.

    Mishra et al. 2021, arXiv:2104.08378.
    """
    if counts.block is None:
        return None
    return counts.nonzeros * (counts.bits + math.ceil(math.log2(counts.block)))


def total_bytes(entry: StorageFormat, layers: Sequence[LayerCounts]) -> int | None:
    """Bytes of all layers, whole bytes for each; None where one cannot be stored so."""
    bits = [entry.bits(counts) for counts in layers]
    known = [number for number in bits if number is not None]
    return sum(-(-number // 8) for number in known) if len(known) == len(bits) else None


def crossover(entry: StorageFormat, layers: Sequence[LayerCounts]) -> float | None:
    """The sparsity above which the format is smaller than dense, the same in every layer.

    Every formula is linear in the number of nonzeros, so two values give it; so few weights are
    removed there that no fillers are needed. None for dense itself, and where no sparsity does it.
    """
    full = total_bytes(entry, [counts.all_kept() for counts in layers])
    empty = total_bytes(entry, [counts.all_removed() for counts in layers])
    dense = total_bytes(FORMATS["dense"], layers)
    if full is None or empty is None or dense is None or empty >= dense:
        return None
    return max(0.0, (full - dense) / (full - empty))


FORMATS: dict[str, StorageFormat] = {
    entry.name: entry
    for entry in (
        StorageFormat(
            "dense",
            "Dense",
            "Every value, zeros too.",
            "PyTorch, and every other program that reads safetensors.",
            dense_bits,
        ),
        StorageFormat(
            "bitmap",
            "Bitmap",
            "One bit per value, and the nonzeros.",
            "load_sparse.py reads it: sparse.safetensors holds a bitmap, and compresses it too.",
            bitmap_bits,
        ),
        StorageFormat(
            "coo",
            "COO",
            "Each nonzero with its 32-bit position.",
            "No program reads exactly this: torch.sparse_coo_tensor stores a 64-bit number for "
            "each dimension, so it is larger.",
            coo_bits,
        ),
        StorageFormat(
            "csr",
            "CSR",
            "Nonzeros by rows, each with its 32-bit column.",
            "PyTorch (torch.sparse_csr_tensor with int32 indices) and SciPy (csr_array) compute "
            "with it, one matrix per layer.",
            csr_bits,
        ),
        StorageFormat(
            "relative",
            "Relative index",
            "Each nonzero with its distance from the one before: 8 bits in convolutions, 5 in "
            "linear layers unless you choose, with filler zeros (Han et al. 2016).",
            "No program reads it: it was made for special hardware. For comparison only.",
            relative_bits,
        ),
        StorageFormat(
            "group",
            "Index per group",
            "One distance per kept group of the granularity, 4 bits unless you choose "
            "(Mao et al. 2017).",
            "No program reads it: it was made for special hardware. For comparison only.",
            group_bits,
        ),
        StorageFormat(
            "n_of_m",
            "N:M packed",
            "Each nonzero with its place among M, as sparse tensor cores read it.",
            "PyTorch on a GPU with sparse tensor cores reads 2:4 "
            "(torch.sparse.to_sparse_semi_structured); no program reads other N:M.",
            n_of_m_bits,
        ),
    )
}
"""The formats whose size is computed, by name."""
