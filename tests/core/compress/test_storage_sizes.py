"""Storage sizes: the papers' formulas, worked examples, and files that were really written."""

import math

import pytest
import torch
from torch import Tensor, nn

from pruning_core.compress.storage_sizes import (
    FORMATS,
    GROUP_GAP_BITS,
    MaskedLayer,
    fillers,
    storage_sizes,
)
from pruning_core.export import masks_by_parameter
from pruning_core.granularity import granularity, to_groups
from pruning_core.masks import apply_masks
from pruning_core.model.inventory import inventory


def masked(keep: Tensor, g: str = "fine", bits: int = 32) -> MaskedLayer:
    o, i, h, w = keep.shape
    (layer, _) = inventory(
        nn.Sequential(nn.Conv2d(i, o, (h, w)), nn.Flatten(), nn.Linear(o * 16, 2)),
        (i, h + 3, w + 3),
    )
    grouped = to_groups(keep, granularity(g), layer)
    return MaskedLayer(layer, keep, bits, grouped.any(-1), grouped.shape[-1], ":" in g)


def size(name: str, layer: MaskedLayer) -> int:
    bits = FORMATS[name].bits(layer)
    assert bits is not None
    return bits


def test_sizes_by_hand() -> None:
    keep = torch.zeros(2, 4, 3, 3, dtype=torch.bool)
    keep[0, 0] = True
    keep[1, 3, 2, 2] = True
    layer = masked(keep)
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


@pytest.mark.parametrize(("g", "elements", "factor"), [("fine", 1, 1.5), ("kernel", 9, 1.056)])
def test_an_index_per_group_costs_less_than_one_per_weight(
    g: str, elements: int, factor: float
) -> None:
    """Storage over dense 8-bit storage is density x (1 + 4 / (8 G)): Mao et al. 2017, table 4."""
    keep = torch.zeros(8, 8, 3, 3, dtype=torch.bool)
    keep.view(-1, elements)[::2] = True
    layer = masked(keep, g, bits=8)
    assert fillers(layer.groups.reshape(-1), GROUP_GAP_BITS) == 0
    ratio = size("group", layer) / size("dense", layer)
    assert ratio / 0.5 == pytest.approx(1 + 4 / (8 * elements))
    assert round(ratio / 0.5, 3) == factor


def test_n_of_m_needs_two_bits_for_a_place_among_four() -> None:
    keep = torch.tensor([1, 1, 0, 0]).bool().repeat(8).view(2, 16, 1, 1)
    assert size("n_of_m", masked(keep, "2:4")) == 16 * (32 + 2)


def test_sizes_of_a_network_count_shared_tensors_once() -> None:
    first = nn.Linear(64, 64, bias=False)
    second = nn.Linear(64, 64)
    second.weight = first.weight
    network = nn.Sequential(nn.Flatten(), first, second)
    layers = inventory(network, (1, 8, 8))
    masks = {layers[0].name: (torch.arange(4096) % 10 == 0).view(64, 64, 1, 1)}
    pruned = apply_masks(network, masks, layers)
    named = masks_by_parameter(masks, layers)
    sizes = {s.format: s for s in storage_sizes(pruned, layers, masks, granularity("fine"), named)}
    assert sizes["dense"].bytes == 4 * (4096 + 64)
    assert sizes["bitmap"].bytes == 512 + 4 * (math.ceil(409.6) + 64)
    assert [name for name, stored in sizes.items() if stored.measured] == ["gzip", "xz", "sparse"]
    assert "n_of_m" not in sizes
    assert sizes["sparse"].bytes < sizes["bitmap"].bytes + 700
