"""A plan's network with shared weights: its value, and its bytes with and without Huffman codes."""

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from pruning_core.compress.sparse_file import write_sparse
from pruning_core.compress.storage_formats import fillers, gap_bits_of, gaps
from pruning_core.compress.storage_sizes import FILES, StoredSize, unmasked_bytes
from pruning_core.compress.weight_sharing import share_weights
from pruning_core.evaluation.accuracy import Judge
from pruning_core.export import masks_by_parameter
from pruning_core.model.model_io import copy_model, tensors_of
from pruning_core.pipeline import dependent_masks_of, final_test_split, pruned_copy
from pruning_core.plan import Plan
from pruning_core.tasks import Change, change
from pruning_core.types import Evaluation, Layer, Masks
from pruning_core.workspaces import Workspace

NO_READER = "No program reads it. For comparison with Deep Compression only."


@dataclass(frozen=True, eq=False)
class SharingCost:
    """What shared weights save and what they cost.

    sizes: computed with a relative index, the same in Huffman codes, and measured as a sparse
    file; before, after: on the test split, without and with shared weights; change: between them.
    """

    bits: int
    sizes: tuple[StoredSize, ...]
    before: Evaluation
    after: Evaluation
    change: Change


def sharing_cost(
    plan: Plan,
    space: Workspace,
    masks: Masks,
    bits: int,
    *,
    model: nn.Module | None = None,
    index_bits: int | None = None,
) -> SharingCost:
    """Shares the weights of the plan's pruned network and measures what that costs.

    model: the pruned network, None for the plan's own; index_bits: as in `count_layer`.
    Raises PruningError as `share_weights`.
    """
    pruned = model or pruned_copy(plan, space, masks)
    shared = shared_copy(pruned, space.layers, masks, bits)
    named = masks_by_parameter(masks, space.layers, dependent_masks_of(plan, space, masks))
    content = write_sparse(tensors_of(shared), named)
    label, reader = FILES["sparse"]
    sizes = (
        *shared_sizes(shared, space.layers, masks, index_bits),
        StoredSize(
            "sparse_shared", f"{label}, {bits} bits shared", len(content), True, read_by=reader
        ),
    )
    judge = Judge.of(space.dataset)
    split = final_test_split(plan, space)
    before = judge.evaluate(pruned, split)
    after = judge.evaluate(shared, split)
    return SharingCost(bits, sizes, before, after, change(before, after))


def shared_copy(model: nn.Module, layers: tuple[Layer, ...], masks: Masks, bits: int) -> nn.Module:
    """A copy whose masked weights are shared, layer by layer. Biases and norms stay as they are."""
    copy = copy_model(model)
    state = tensors_of(copy)
    with torch.no_grad():
        shared = share_weights(state, masks_by_parameter(masks, layers), bits)
        for name, tensor in shared.items():
            state[name].copy_(tensor)
    return copy


def shared_sizes(
    model: nn.Module, layers: tuple[Layer, ...], masks: Masks, index_bits: int | None = None
) -> tuple[StoredSize, StoredSize]:
    """Computed bytes of a network with shared weights: by Deep Compression's formulas.

    First (a + fillers) (b + k) + 2^b values per layer; then the same with codes and distances in
    Huffman codes, and one byte per symbol for the table that says how long its code is.
    """
    state = tensors_of(model)
    named = masks_by_parameter(masks, layers)
    rest = unmasked_bytes(state, masks)
    plain = rest
    coded = rest
    for layer in layers:
        if layer.name in masks:
            gap_bits = gap_bits_of(layer, index_bits)
            sizes = _layer_bits(state[layer.name].detach().cpu(), named[layer.name].cpu(), gap_bits)
            plain += -(-sizes[0] // 8)
            coded += -(-sizes[1] // 8)
    return (
        StoredSize("shared", "Shared + relative index", plain, False, read_by=NO_READER),
        StoredSize("huffman", "Shared + Huffman", coded, False, read_by=NO_READER),
    )


def _layer_bits(weight: Tensor, keep: Bool[Tensor, "..."], gap_bits: int) -> tuple[int, int]:
    """Bits of a layer with fixed codes, and with Huffman codes."""
    values, codes = weight[keep].unique(return_inverse=True)
    flat = keep.reshape(-1)
    filled = fillers(flat, gap_bits)
    zero = next(iter((values == 0).nonzero().flatten().tolist()), len(values))
    symbols = len(values) + int(filled > 0 and zero == len(values))
    book = symbols * 8 * weight.element_size()
    code_bits = math.ceil(math.log2(symbols)) if symbols else 0
    fixed = (len(codes) + filled) * (code_bits + gap_bits) + book
    gap_counts = _frequencies(gaps(flat) % 2**gap_bits)
    gap_counts[-1] = filled
    code_counts = _frequencies(codes)
    code_counts[zero] = code_counts.get(zero, 0) + filled
    tables = 8 * sum(count > 0 for part in (gap_counts, code_counts) for count in part.values())
    coded = huffman_bits(code_counts.values()) + huffman_bits(gap_counts.values()) + book + tables
    return fixed, coded


def _frequencies(symbols: Int[Tensor, " n"]) -> dict[int, int]:
    values, counts = symbols.unique(return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def huffman_bits(frequencies: Iterable[int]) -> int:
    """Bits of a message in its own Huffman code. frequencies: how often each symbol occurs.

    A message of one symbol only needs no bits: the table holds all that there is.

    >>> huffman_bits([4, 2, 1, 1])
    14
    """
    heap = [count for count in frequencies if count > 0]
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        both = heapq.heappop(heap) + heapq.heappop(heap)
        total += both
        heapq.heappush(heap, both)
    return total
