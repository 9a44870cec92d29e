"""Bytes of shared weights: Huffman's code, worked examples, and a plan that is really measured."""

import math

import torch
from torch import nn

from pruning_core.compress.shared_storage import (
    huffman_bits,
    shared_copy,
    shared_sizes,
    sharing_cost,
)
from pruning_core.compress.sparse_file import read_sparse, write_sparse
from pruning_core.export import masks_by_parameter
from pruning_core.masks import apply_masks
from pruning_core.model.inventory import inventory
from pruning_core.model.model_io import tensors_of
from pruning_core.pipeline import choose_masks, pruned_copy
from pruning_core.plan import Plan
from pruning_core.workspaces import open_workspace


def test_huffman_codes_are_optimal_for_powers_of_two_and_never_below_the_entropy() -> None:
    assert huffman_bits([8, 4, 2, 1, 1]) == 8 + 2 * 4 + 3 * 2 + 4 + 4
    assert huffman_bits([7]) == huffman_bits([]) == huffman_bits([0, 5]) == 0
    counts = [1, 2, 5, 11, 30]
    entropy = -sum(count * math.log2(count / 49) for count in counts)
    assert entropy <= huffman_bits(counts) <= entropy + 49


def test_sizes_by_hand() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(20, 2, bias=False))
    weight = network.get_parameter("1.weight").data
    weight.zero_()
    weight[0, :4] = torch.tensor([1.0, 1.0, 1.0, 2.0])
    weight[1, 19] = 2.0
    layers = inventory(network, (1, 4, 5))
    masks = {"1.weight": (weight != 0)[:, :, None, None]}
    plain, coded = shared_sizes(network, layers, masks, index_bits=5)
    # Places 0, 1, 2, 3, 39: the last distance, 36, needs one filler, which needs the value zero.
    assert plain.bytes == (6 * (2 + 5) + 3 * 32 + 7) // 8
    codes = huffman_bits([3, 2, 1])
    gaps = huffman_bits([4, 1, 1])
    assert coded.bytes == (codes + gaps + 3 * 32 + 8 * (3 + 3) + 7) // 8


def test_only_masked_weights_are_shared_and_the_model_itself_stays() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 32))
    layers = inventory(network, (1, 8, 8))
    masks = {"1.weight": (torch.arange(2048) % 3 == 0).view(32, 64, 1, 1)}
    pruned = apply_masks(network, masks, layers)
    before = {name: tensor.clone() for name, tensor in tensors_of(pruned).items()}
    shared = tensors_of(shared_copy(pruned, layers, masks, 2))
    assert len(shared["1.weight"].unique()) == 5
    assert torch.equal(shared["1.bias"], before["1.bias"])
    assert torch.equal(tensors_of(pruned)["1.weight"], before["1.weight"])


def test_a_plans_network_is_shared_measured_and_stored() -> None:
    plan = Plan(model="lenet5", dataset="digits", sparsity=0.5)
    space = open_workspace(plan.model, plan.dataset)
    masks = choose_masks(plan, space)[1]
    shared = sharing_cost(plan, space, masks, 5)
    network = shared_copy(pruned_copy(plan, space, masks), space.layers, masks, 5)
    named = masks_by_parameter(masks, space.layers)
    assert shared.change.n == shared.after.n == len(space.dataset.test)
    assert shared.before.value + shared.change.value == shared.after.value
    assert abs(shared.change.value) < 0.05
    content = write_sparse(tensors_of(network), named)
    restored = read_sparse(content)
    assert all(torch.equal(restored[name], t) for name, t in tensors_of(network).items())
    sizes = {size.format: size for size in shared.sizes}
    assert sizes["sparse_shared"].bytes == len(content)
    unshared = write_sparse(tensors_of(pruned_copy(plan, space, masks)), named)
    assert len(content) < len(unshared) / 2.5
    assert sizes["huffman"].bytes < sizes["shared"].bytes
    assert [size.measured for size in shared.sizes] == [False, False, True]
