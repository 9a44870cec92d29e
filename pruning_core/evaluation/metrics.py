"""Computed counts of a masked model: parameters, nonzeros, multiply-adds, bytes. Nothing here is a
timing.
"""

from collections.abc import Mapping, Sequence

from jaxtyping import Bool
from torch import Tensor, nn

from pruning_core.types import Layer, Masks, PruningError, Report

Keep = Mapping[str, Bool[Tensor, "..."]]
"""True = keep, by parameter name, in its own shape."""


def _nonzeros(model: nn.Module, masks: Mapping[str, Tensor]) -> dict[str, int]:
    """Nonzero values per parameter, tied ones once; what a mask removes counts as zero."""
    counts = {}
    for name, parameter in model.named_parameters():
        values = parameter.detach() != 0
        if name in masks:
            values = values & masks[name].reshape(parameter.shape).to(values.device)
        counts[name] = int(values.sum())
    return counts


def _macs(layers: Sequence[Layer], masks: Mapping[str, Tensor]) -> int:
    """The multiply-adds that read a weight that is kept."""
    return round(
        sum(
            x.macs * (masks[x.name].sum().item() / x.numel if x.name in masks else 1.0)
            for x in layers
        )
    )


def _both(masks: Mapping[str, Tensor], more: Keep) -> dict[str, Tensor]:
    """What both keep, in the parameters' own shapes where there are two."""
    joint = {
        name: keep & masks[name].reshape(keep.shape).cpu() if name in masks else keep
        for name, keep in more.items()
    }
    return {**masks, **joint}


def measure(
    model: nn.Module,
    layers: Sequence[Layer],
    masks: Masks,
    silent: Keep | None = None,
    unread: Keep | None = None,
) -> Report:
    """Counts of the model as if the masks were applied.

    kept = mask mean per layer (1 without a mask); macs_effective = sum of macs x kept, rounded;
    sparsity = zeros / values, over the masked tensors (0 if there are none) and over all
    parameters; bytes: all parameters and buffers as they are stored. silent: what the masks silence
    besides weights (`coupling.dependent_masks`), zeros among all parameters; unread: weights that
    only read what is gone (`coupling.dead_inputs`), for the thinned counts alone, which are None
    without it. Raises PruningError for a mask of no layer or of another size.
    """
    known = {layer.name: layer for layer in layers}
    for name, mask in masks.items():
        if name not in known:
            raise PruningError(f"The mask {name!r} belongs to no layer of this model.")
        if mask.numel() != known[name].numel:
            raise PruningError(
                f"The mask of {name} has {mask.numel()} entries; the layer has {known[name].numel} weights."
            )
    nonzeros = _nonzeros(model, {**masks, **(silent or {})})
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    kept = {
        layer.name: masks[layer.name].sum().item() / layer.numel if layer.name in masks else 1.0
        for layer in layers
    }
    total = sum(sizes.values())
    left = sum(nonzeros.values())
    masked, masked_left = (sum(counts[name] for name in masks) for counts in (sizes, nonzeros))
    tensors = (*model.parameters(), *model.buffers())
    thin = None if unread is None else _both({**masks, **(silent or {})}, unread)
    return Report(
        parameters=total,
        nonzeros=left,
        macs=sum(layer.macs for layer in layers),
        macs_effective=_macs(layers, masks),
        dense_bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        sparsity_masked=1 - masked_left / masked if masked else 0.0,
        sparsity_model=1 - left / total if total else 0.0,
        kept=kept,
        thinned_parameters=None if thin is None else sum(_nonzeros(model, thin).values()),
        thinned_macs=None if thin is None else _macs(layers, thin),
    )
