"""How small is the sparse file, and what stands in the way of a smaller one?

For a ResNet-20 with global magnitude masks: the written file against the dense safetensors file,
for the whole network and for the masked tensors alone, and a lower bound for the whole network.
The bound: the places of kept weights at the entropy of each layer's density, sign and mantissa (24
bits) of every float as they are, exponents at their own entropy; nothing for names and header.
With --share-bits: the file with shared weights, and what that changes on the test split.

Run: python -m benchmarks.sparse_file [--dataset digits] [--share-bits 8]
"""

import argparse
import math
from collections.abc import Iterable, Mapping

import torch
from safetensors.torch import save
from torch import Tensor

from pruning_core.compress.shared_storage import sharing_cost
from pruning_core.compress.sparse_file import read_sparse, value_bytes, write_sparse
from pruning_core.export import masks_by_parameter, weights_safetensors
from pruning_core.model.model_io import tensors_of
from pruning_core.pipeline import choose_masks, pruned_copy
from pruning_core.plan import Plan
from pruning_core.workspaces import Workspace, open_workspace

SPARSITIES = (0.5, 0.7, 0.9, 0.95, 0.96)


def entropy_bytes(counts: Iterable[float]) -> float:
    """Bytes of a message at the entropy of its symbols. counts: how often each occurs."""
    present = [count for count in counts if count]
    total = sum(present)
    return -sum(count * math.log2(count / total) for count in present) / 8


def lower_bound(state: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> float:
    """Bytes that this model of the values cannot be stored in less than."""
    places = sum(entropy_bytes((int(mask.sum()), int((~mask).sum()))) for mask in masks.values())
    kept = torch.cat([state[name][mask] for name, mask in masks.items()])
    others = torch.cat(
        [t.reshape(-1) for name, t in state.items() if name not in masks and t.is_floating_point()]
    )
    exponents = sum(
        entropy_bytes((part.view(torch.int32) >> 23 & 255).bincount().tolist())
        for part in (kept, others)
    )
    return places + exponents + 3 * (len(kept) + len(others))


def measure(space: Workspace, plan: Plan, share_bits: int | None) -> str:
    """One line for one sparsity. Raises AssertionError where a value does not come back."""
    masks = choose_masks(plan, space)[1]
    named = masks_by_parameter(masks, space.layers)
    network = pruned_copy(plan, space, masks)
    state = tensors_of(network)
    content = write_sparse(state, named, metadata={"plan": plan.to_json()})
    back = read_sparse(content)
    assert all(torch.equal(value_bytes(back[name]), value_bytes(t)) for name, t in state.items())
    dense = len(weights_safetensors(network))
    masked = {name: state[name] for name in named}
    alone = len(save(masked)) / len(write_sparse(masked, named))
    bound = lower_bound(state, named)
    line = (
        f"{plan.sparsity:.0%}: {len(content):,} of {dense:,} bytes, {dense / len(content):.2f}x; "
        f"masked tensors alone {alone:.2f}x; bound {bound:,.0f} bytes, {dense / bound:.2f}x"
    )
    if share_bits is None:
        return line
    cost = sharing_cost(plan, space, masks, share_bits, model=network)
    low, high = (100 * end for end in cost.change.interval)
    return (
        f"{line}; {share_bits} bits shared: {dense / cost.sizes[-1].bytes:.2f}x, "
        f"{100 * cost.change.value:+.2f} points [{low:+.2f}, {high:+.2f}], n = {cost.change.n}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--share-bits", type=int)
    options = parser.parse_args()
    space = open_workspace("resnet20", options.dataset)
    for sparsity in SPARSITIES:
        plan = Plan(
            model="resnet20", dataset=options.dataset, allocation="global", sparsity=sparsity
        )
        print(measure(space, plan, options.share_bits))


if __name__ == "__main__":
    main()
