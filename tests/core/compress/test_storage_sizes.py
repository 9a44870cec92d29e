"""Storage of networks: shared tensors, measured files, and sizes that were really written."""

import math

import pytest
import torch
from safetensors.torch import load
from torch import nn

from pruning_core.compress.sparse_file import write_sparse
from pruning_core.compress.storage_sizes import StoredSize, computed_sizes, storage_sizes
from pruning_core.export import masks_by_parameter
from pruning_core.granularity import granularity
from pruning_core.masks import apply_masks
from pruning_core.model.inventory import inventory


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
    assert all(size.read_by for size in sizes.values())


def linear_network(keep: torch.Tensor, index_bits: int | None = None) -> dict[str, StoredSize]:
    network = nn.Sequential(nn.Flatten(), nn.Linear(keep.shape[1], keep.shape[0]))
    layers = inventory(network, (1, 1, keep.shape[1]))
    masks = {layers[0].name: keep[:, :, None, None]}
    pruned = apply_masks(network, masks, layers)
    sizes = computed_sizes(pruned, layers, masks, granularity("fine"), index_bits)
    plain = write_sparse(pruned.state_dict(), {"1.weight": keep}, compress=False)
    parts = {name: len(part) for name, part in load(plain).items()}
    written = StoredSize("written", "", parts["bitmap"] + parts["bytes.4"], True)
    return {size.format: size for size in sizes} | {"written": written}


def test_the_computed_bitmap_is_what_the_file_holds_beside_its_header() -> None:
    sizes = linear_network(torch.rand(16, 24, generator=torch.Generator().manual_seed(0)) < 0.3)
    assert sizes["bitmap"].bytes == sizes["written"].bytes


@pytest.mark.parametrize("name", ["bitmap", "coo", "csr", "relative"])
def test_a_format_is_smaller_than_dense_above_its_crossover_only(name: str) -> None:
    border = linear_network(torch.ones(40, 40, dtype=torch.bool))[name].crossover
    assert border is not None
    for sparsity, smaller in ((border - 0.01, False), (border + 0.01, True)):
        places = torch.arange(1600) * (1 - sparsity)
        keep = (places.floor() != (places + 1 - sparsity).floor()).view(40, 40)
        sizes = linear_network(keep)
        assert (sizes[name].bytes < sizes["dense"].bytes) == smaller
        assert sizes[name].crossover == border


def test_more_index_bits_make_every_entry_larger() -> None:
    keep = torch.ones(4, 8, dtype=torch.bool)
    sizes = [linear_network(keep, bits)["relative"].bytes for bits in (None, 8)]
    assert sizes == [4 * 4 + 32 * 37 // 8, 4 * 4 + 32 * 40 // 8]
