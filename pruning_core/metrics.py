"""Computed counts of a masked model: parameters, nonzeros, multiply-adds, bytes. Nothing here is a timing."""

from collections.abc import Mapping, Sequence

from jaxtyping import Bool
from torch import Tensor, nn

from pruning_core.types import Layer, Masks, PruningError, Report


def _nonzeros(model: nn.Module, masks: Mapping[str, Tensor]) -> dict[str, int]:
    """Nonzero values per parameter, tied ones once; what a mask removes counts as zero."""
    counts = {}
    for name, parameter in model.named_parameters():
        values = parameter.detach() != 0
        if name in masks:
            values = values & masks[name].reshape(parameter.shape).to(values.device)
        counts[name] = int(values.sum())
    return counts


def measure(
    model: nn.Module, layers: Sequence[Layer], masks: Masks, silent: Mapping[str, Bool[Tensor, "..."]] | None = None
) -> Report:
    """Counts of the model as if the masks were applied.

    kept = mask mean per layer (1 without a mask); macs_effective = sum of macs x kept, rounded; sparsity = zeros / values, over
    the masked tensors (0 if there are none) and over all parameters; bytes: all parameters and buffers as they are stored.
    silent: what the masks silence besides weights (`coupling.silenced`), zeros among all parameters.
    Raises PruningError for a mask of no layer or of another size.
    """
    known = {layer.name: layer for layer in layers}
    for name, mask in masks.items():
        if name not in known:
            raise PruningError(f"The mask {name!r} belongs to no layer of this model.")
        if mask.numel() != known[name].numel:
            raise PruningError(f"The mask of {name} has {mask.numel()} entries; the layer has {known[name].numel} weights.")
    nonzeros = _nonzeros(model, {**masks, **(silent or {})})
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    kept = {layer.name: masks[layer.name].sum().item() / layer.numel if layer.name in masks else 1.0 for layer in layers}
    total, left = sum(sizes.values()), sum(nonzeros.values())
    masked, masked_left = (sum(counts[name] for name in masks) for counts in (sizes, nonzeros))
    tensors = (*model.parameters(), *model.buffers())
    return Report(
        parameters=total,
        nonzeros=left,
        macs=sum(layer.macs for layer in layers),
        macs_effective=round(sum(layer.macs * kept[layer.name] for layer in layers)),
        dense_bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        sparsity_masked=1 - masked_left / masked if masked else 0.0,
        sparsity_model=1 - left / total if total else 0.0,
        kept=kept,
    )
