"""Storage formats: the papers' formulas, worked examples, and bits that were really written."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from pruning_core.compress.storage_formats import (
    FORMATS,
    GROUP_GAP_BITS,
    LayerCounts,
    count_layer,
    fillers,
)
from pruning_core.granularity import granularity, to_groups
from pruning_core.model.inventory import inventory
from pruning_core.types import Layer, PruningError


def layer_of(keep: Tensor) -> Layer:
    o, i, h, w = keep.shape
    convolution = nn.Conv2d(i, o, (h, w))
    network = nn.Sequential(convolution, nn.Flatten(), nn.Linear(o * 16, 2))
    return inventory(network, (i, h + 3, w + 3))[0]


def counted(keep: Tensor, g: str = "fine", bits: int = 32) -> LayerCounts:
    return count_layer(layer_of(keep), keep, bits, granularity(g))


def size(name: str, layer: LayerCounts) -> int:
    bits = FORMATS[name].bits(layer)
    assert bits is not None
    return bits


def test_sizes_by_hand() -> None:
    keep = torch.zeros(2, 4, 3, 3, dtype=torch.bool)
    keep[0, 0] = True
    keep[1, 3, 2, 2] = True
    layer = counted(keep)
    assert size("dense", layer) == 72 * 32
    assert size("bitmap", layer) == 72 + 10 * 32
    assert size("coo", layer) == 10 * 64
    assert size("csr", layer) == 10 * 64 + 3 * 32
    assert size("relative", layer) == 10 * 40
    assert FORMATS["n_of_m"].bits(layer) is None


def test_fillers_of_deep_compression() -> None:
    """Positions 0, 3, 14 with 3 bits: distances 1, 3, 11; 11 is written as 8 with a zero, and 3."""
    keep = torch.zeros(16, dtype=torch.bool)
    keep[[0, 3, 14]] = True
    assert [fillers(keep, bits) for bits in (2, 3, 4)] == [2, 1, 0]
    assert fillers(torch.zeros(5, dtype=torch.bool), 3) == 0


@pytest.mark.parametrize(
    ("g", "elements", "factor"), [("fine", 1, 1.5), ("vector_row", 3, 1.167), ("kernel", 9, 1.056)]
)
def test_an_index_per_group_costs_less_than_one_per_weight(
    g: str, elements: int, factor: float
) -> None:
    """Storage over dense 8-bit storage is density x (1 + 4 / (8 G)): Mao et al. 2017, table 4."""
    keep = torch.zeros(8, 8, 3, 3, dtype=torch.bool)
    keep.view(-1, elements)[::2] = True
    layer = counted(keep, g, bits=8)
    assert (layer.group_gap_bits, layer.group_fillers) == (GROUP_GAP_BITS, 0)
    ratio = size("group", layer) / size("dense", layer)
    assert ratio / 0.5 == pytest.approx(1 + 4 / (8 * elements))
    assert round(ratio / 0.5, 3) == factor


def test_n_of_m_needs_two_bits_for_a_place_among_four() -> None:
    keep = torch.tensor([1, 1, 0, 0]).bool().repeat(8).view(2, 16, 1, 1)
    assert size("n_of_m", counted(keep, "2:4")) == 16 * (32 + 2)


@pytest.mark.parametrize("g", ["kernel", "2:4"])
def test_a_layer_that_the_granularity_cannot_divide_is_counted_by_weights(g: str) -> None:
    """A sparse start masks layers too that the plan itself cannot prune."""
    keep = torch.tensor([1, 0, 1]).bool().repeat(5).view(5, 3, 1, 1)
    layer = counted(keep, g)
    assert layer == counted(keep, "fine")
    assert (layer.groups, layer.kept_groups, layer.group_size, layer.block) == (15, 10, 1, None)


def written_distances(keep: Tensor, bits: int, index_bits: int) -> tuple[int, Tensor]:
    """Bits of a stream of (distance, entry) that is really built, and the mask read back from it.

    keep: entries x values; bits: of one entry.
    """
    stream = []
    last = -1
    for place in keep.nonzero().flatten().tolist():
        while place - last > 2**index_bits:
            last += 2**index_bits
            stream.append((2**index_bits, False))
        stream.append((place - last, True))
        last = place
    back = torch.zeros_like(keep)
    at = -1
    for distance, real in stream:
        at += distance
        back[at] = real
    return len(stream) * (bits + index_bits), back


@pytest.mark.parametrize("index_bits", [None, 1, 3, 8])
@pytest.mark.parametrize("g", ["fine", "kernel"])
def test_computed_distances_are_those_of_a_stream_that_reads_back(
    g: str, index_bits: int | None
) -> None:
    drawn = torch.rand(6, 7, 3, 3, generator=torch.Generator().manual_seed(3))
    keep = (drawn if g == "fine" else drawn[:, :, :1, :1].expand_as(drawn)) < 0.1
    counts = count_layer(layer_of(keep), keep, 16, granularity(g), index_bits)
    bits, back = written_distances(keep.flatten(), 16, index_bits or 8)
    assert size("relative", counts) == bits
    assert torch.equal(back, keep.flatten())
    kept = to_groups(keep, granularity(g), layer_of(keep)).any(-1).flatten()
    bits, back = written_distances(kept, 16 * counts.group_size, index_bits or 4)
    assert size("group", counts) == bits
    assert torch.equal(back, kept)


def test_computed_csr_and_packed_bits_are_those_of_written_arrays() -> None:
    keep = torch.rand(6, 8, 3, 3, generator=torch.Generator().manual_seed(4)) < 0.3
    rows = keep.flatten(1)
    columns = rows.nonzero()[:, 1].int()
    starts = torch.cat([torch.zeros(1), rows.sum(1).cumsum(0)]).int()
    back = [columns[a:b].tolist() for a, b in pairwise(starts)]
    assert back == [row.nonzero().flatten().tolist() for row in rows]
    parts = (rows.float()[rows], starts, columns)
    assert size("csr", counted(keep)) == 8 * sum(part.nbytes for part in parts)
    places = [(1, 0), (3, 2), (2, 1)]
    pattern = torch.tensor([[k in pair for k in range(4)] for pair in places]).view(3, 4, 1, 1)
    packed = "".join(f"{k:02b}{0:08b}" for pair in places for k in sorted(pair))
    assert size("n_of_m", counted(pattern, "2:4", bits=8)) == len(packed)


def test_index_bits_outside_of_1_to_32_are_refused() -> None:
    keep = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    for bits in (0, 33):
        with pytest.raises(PruningError, match=f"1 to 32 bits, not {bits}"):
            count_layer(layer_of(keep), keep, 32, granularity("fine"), bits)
