"""Counts of a masked model: parameters, nonzeros, multiply-adds and bytes. Nothing is timed."""

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn

from pruning_core.model.inventory import stored
from pruning_core.model.mask_forms import checked_masks, checked_parameter_masks
from pruning_core.types import GivenMasks, Layer, ParameterMasks, Report


def measure(
    model: nn.Module,
    layers: Sequence[Layer],
    masks: GivenMasks,
    dependent: GivenMasks | None = None,
    dead: ParameterMasks | None = None,
) -> Report:
    """Counts of the model as if the masks were applied.

    kept: mean of each layer's mask, 1 without a mask. macs_effective: sum of macs x kept, rounded.
    sparsity: zeros / values, over the masked tensors (0 without masks) and over all parameters.
    bytes: of all parameters and buffers as stored. dependent: masks of biases, norms and the like
    (`coupling.dependent_masks`); what they remove counts as zero among all parameters. dead:
    masks of the weights that only read removed channels (`coupling.dead_inputs`), for the thinned
    counts, which are None without it. Raises PruningError as `checked_masks`.
    """
    checked = checked_masks(masks, layers)
    named = list(model.named_parameters(remove_duplicate=False))
    first = _first_names(named)
    parameters = {name: parameter for name, parameter in named if first[name] == name}
    by_name = {layer.name: layer for layer in layers}
    own = {first[name]: stored(mask, by_name[name]) for name, mask in checked.items()}
    others = checked_parameter_masks(dependent or {}, model)
    removed = _combined(own, {first[name]: mask for name, mask in others.items()})
    nonzeros = _nonzeros(parameters, removed)
    sizes = {name: parameter.numel() for name, parameter in parameters.items()}
    thinned = None if dead is None else _combined(removed, dead)
    tensors = (*parameters.values(), *model.buffers())
    return Report(
        parameters=sum(sizes.values()),
        nonzeros=sum(nonzeros.values()),
        macs=sum(layer.macs for layer in layers),
        macs_effective=_macs(layers, checked),
        dense_bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        sparsity_masked=_sparsity(own, nonzeros, sizes),
        sparsity_model=_sparsity(sizes, nonzeros, sizes),
        kept={layer.name: _kept(layer, checked) for layer in layers},
        thinned_nonzeros=None if thinned is None else sum(_nonzeros(parameters, thinned).values()),
        thinned_macs=None if thinned is None else _macs(layers, thinned, first),
    )


def _first_names(named: Iterable[tuple[str, nn.Parameter]]) -> dict[str, str]:
    """The name of every parameter -> the first name of the same parameter."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(parameter), name) for name, parameter in named}


def _nonzeros(
    parameters: Mapping[str, nn.Parameter], masks: Mapping[str, Tensor]
) -> dict[str, int]:
    """Nonzero values per parameter. What a mask removes counts as zero."""
    counts = {}
    for name, parameter in parameters.items():
        values = parameter.detach() != 0
        if name in masks:
            values = values & masks[name].to(values.device)
        counts[name] = int(values.sum())
    return counts


def _sparsity(names: Iterable[str], nonzeros: Mapping[str, int], sizes: Mapping[str, int]) -> float:
    """Fraction of zeros among the named parameters; 0 where there are none."""
    chosen = list(names)
    total = sum(sizes[name] for name in chosen)
    return 1 - sum(nonzeros[name] for name in chosen) / total if total else 0.0


def _kept(
    layer: Layer, masks: Mapping[str, Tensor], names: Mapping[str, str] | None = None
) -> float:
    name = layer.name if names is None else names[layer.name]
    return masks[name].sum().item() / layer.numel if name in masks else 1.0


def _macs(
    layers: Sequence[Layer], masks: Mapping[str, Tensor], names: Mapping[str, str] | None = None
) -> int:
    """The multiply-adds that read a kept weight. names: layer name -> the name of its mask."""
    return round(sum(layer.macs * _kept(layer, masks, names) for layer in layers))


def _combined(masks: Mapping[str, Tensor], more: ParameterMasks) -> dict[str, Tensor]:
    """What both mappings keep. A parameter that both name gets its own shape."""
    both = {
        name: keep & masks[name].reshape(keep.shape).cpu() if name in masks else keep
        for name, keep in more.items()
    }
    return {**masks, **both}
