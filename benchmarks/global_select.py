"""Global magnitude pruning of VGG-16's 138 million weights, against `prune.global_unstructured`.

Run: python -m benchmarks.global_select [--rounds 3]. Threshold and masks at 80% sparsity. The
weights are random and nearly all distinct.
"""

import torch
from torch import nn
from torch.nn.utils import prune

from benchmarks.timing import Row, command, interleaved, peak
from pruning_core.allocation import ALLOCATIONS
from pruning_core.criteria import criterion
from pruning_core.granularity import granularity
from pruning_core.masks import group_scores, select
from pruning_core.types import Layer, Masks

CONVOLUTIONS = [
    (3, 64),
    (64, 64),
    (64, 128),
    (128, 128),
    (128, 256),
    (256, 256),
    (256, 256),
    (256, 512),
] + 5 * [(512, 512)]
SPARSITY = 0.8


def vgg16() -> tuple[nn.Sequential, tuple[Layer, ...]]:
    """The 16 weights of VGG-16 (Simonyan and Zisserman 2014, arXiv:1409.1556) in a sequence.

    Only their shapes matter here.
    """
    torch.manual_seed(0)
    convolutions: list[nn.Module] = [nn.Conv2d(i, o, 3) for i, o in CONVOLUTIONS]
    model = nn.Sequential(
        *convolutions, nn.Linear(25088, 4096), nn.Linear(4096, 4096), nn.Linear(4096, 1000)
    )
    return model, tuple(
        layer_of(f"{k}.weight", module.get_parameter("weight")) for k, module in enumerate(model)
    )


def layer_of(name: str, weight: torch.Tensor) -> Layer:
    """The layer of one weight, without running the model."""
    o, i, h, w = (*weight.shape, 1, 1)[:4]
    kind = "conv2d" if weight.ndim == 4 else "linear"
    return Layer(name, name.split(".")[0], kind, (o, i, h, w), tuple(weight.shape))


def ours(model: nn.Module, layers: tuple[Layer, ...]) -> Masks:
    """Masks from weights, by the functions that the Explore page uses."""
    l1 = criterion("magnitude_l1")
    g = granularity("fine")
    groups = group_scores(l1(model, layers, ()), layers, g, l1.pool)
    return select(groups, layers, g, ALLOCATIONS["global"](layers, groups, SPARSITY))


def peers(model: nn.Sequential, count: int | float = SPARSITY) -> Masks:
    """The peer's masks. Its reparametrisation is removed afterwards; weights are not changed."""
    original = {f"{k}.weight": module.get_parameter("weight") for k, module in enumerate(model)}
    prune.global_unstructured(
        [(module, "weight") for module in model], pruning_method=prune.L1Unstructured, amount=count
    )
    masks = {f"{k}.weight": module.get_buffer("weight_mask") for k, module in enumerate(model)}
    for module, weight in zip(model, original.values(), strict=True):
        for hook in [
            key
            for key, entry in module._forward_pre_hooks.items()
            if isinstance(entry, prune.BasePruningMethod)
        ]:
            del module._forward_pre_hooks[hook]
        del module.weight_orig, module.weight_mask, module.weight
        module.weight = weight
    return masks


def row(rounds: int) -> Row:
    """Compares masks and peak memory of one run of each, then measures both in turn."""
    model, layers = vgg16()
    masks: list[Masks] = []
    memory = [
        peak(lambda: masks.append(ours(model, layers))),
        peak(lambda: masks.append(peers(model))),
    ]
    our_masks, peer_masks = masks
    different = sum(
        int((our_masks[x.name].reshape(x.param_shape) != peer_masks[x.name].bool()).sum())
        for x in layers
    )
    removed = sum(x.numel - int(our_masks[x.name].count_nonzero()) for x in layers)
    del our_masks, peer_masks
    masks.clear()
    seconds = interleaved(
        {"ours": lambda: ours(model, layers), "peer": lambda: peers(model)}, rounds, warmup=0
    )
    more: dict[str, float | int | str] = {
        "weights": sum(x.numel for x in layers),
        "removed": removed,
        "different": different,
    }
    what = "global threshold and masks, VGG-16"
    against = "prune.global_unstructured"
    return Row(what, seconds["ours"], seconds["peer"], against, 20, memory[0], memory[1], more)


def rows(rounds: int = 3) -> list[Row]:
    """The one row."""
    return [row(rounds)]


if __name__ == "__main__":
    command(rows, 3, __doc__)
