"""Lists the prunable parameters of a model, every weight as an OIHW view."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import prod

import torch
from torch import nn

from pruning_core.model.inventory.heads import with_heads
from pruning_core.model.inventory.kinds import (
    FIRST_KINDS,
    candidates,
    is_adapter,
    is_replaced,
    is_scripted,
)
from pruning_core.model.inventory.reparametrised import check_lazy, computed_weights
from pruning_core.model.inventory.trace import Trace, Use, sample, trace
from pruning_core.model.inventory.views import outputs_first, view_shape
from pruning_core.types import Example, Layer, PruningError

QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torchao.quantization")


def inventory(model: nn.Module, shape: Example, *, embeddings: bool = False) -> tuple[Layer, ...]:
    """Lists every prunable parameter once, in module order.

    These are the weights of convolutions (transposed, grouped and depthwise too), Linear, GPT-2's
    Conv1D, Bilinear, recurrent layers and MultiheadAttention, and parameters without a module of
    their own that the model multiplies with data as a matrix or kernel: a single one, several
    stacked ones, or one per expert. Query, key, value and output Linears of other attention (such
    as BERT's) have their number of heads (`heads.with_heads`). A tied weight is listed once; its
    other names are its aliases. embeddings: list the weights of nn.Embedding too.

    shape: one input, C x H x W (random numbers are run), or a batch whose first sample is run: a
    tensor, a tuple or a dict (input_ids, attention_mask). It is run once to count multiply-adds,
    to find the batch norm after each convolution, and to see which outputs are the model's. A
    weight counts where it is read, with or without a call of its module. Raises PruningError where
    the model has no prunable weight or one that is not finite or not there yet, or does not accept
    the input.

    >>> network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 2))
    >>> [(layer.name, layer.shape) for layer in inventory(network, (1, 8, 8))]
    [('0.weight', (4, 1, 3, 3)), ('2.weight', (2, 144, 1, 1))]
    """
    _check_model(model)
    listed = _listed(model, embeddings=embeddings)
    owners = _owners(model, listed, embeddings=embeddings)
    _check_finite(model, listed)
    seen = trace(model, listed, owners, shape)
    used = [layer for layer in listed if layer.name not in seen.unknown]
    used = [own for own in used if own.name in seen.uses or not is_replaced(model, own.name)]
    bare = _bare(model, listed, seen)
    if not used and not bare:
        raise _nothing_to_prune(model)
    _check_finite(model, bare)
    outputs = seen.outputs | _training_outputs(model, used, owners, shape, seen)
    layers = _traced(model, [*used, *bare], seen.uses, outputs)
    order = list(dict.fromkeys(owner for name in seen.uses for owner in owners.get(name, ())))
    return with_heads(model, layers, order, sample(model, shape))


def without_classifier(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """All layers but those that give the model's outputs.

    SEVEN prunes these (Xiao et al. 2024, arXiv:2403.12688).
    """
    return tuple(layer for layer in layers if not layer.is_output)


def _listed(model: nn.Module, *, embeddings: bool) -> tuple[Layer, ...]:
    """The weights of modules of a known kind, each once, with all its names."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    listed: dict[int, Layer] = {}
    computed = {name for weight in computed_weights(model) for name in weight.parameters}
    for layer, parameter in candidates(model, embeddings=embeddings):
        if parameter.is_complex() or not parameter.numel() or layer.name in computed:
            continue
        first = listed.setdefault(id(parameter), layer)
        if first.kind == "embedding" != layer.kind:  # it is the weight of a Linear as well
            listed[id(parameter)] = replace(layer, aliases=(first.name, *first.aliases))
        elif first.name != layer.name:
            listed[id(parameter)] = replace(first, aliases=(*first.aliases, layer.name))
    return tuple(
        replace(layer, aliases=tuple(dict.fromkeys([*layer.aliases, *others])))
        for key, layer in listed.items()
        for others in [[name for name in names[key] if name != layer.name]]
    )


def _owners(
    model: nn.Module, listed: Sequence[Layer], *, embeddings: bool
) -> dict[str, tuple[str, ...]]:
    """Names of the listed weights -> paths of the modules that own them."""
    paths = {layer.name: layer.module for layer, _ in candidates(model, embeddings=embeddings)}
    return {
        layer.name: tuple(
            dict.fromkeys(paths[name] for name in (layer.name, *layer.aliases) if name in paths)
        )
        for layer in listed
    }


def _bare(model: nn.Module, listed: Sequence[Layer], seen: Trace) -> list[Layer]:
    """Parameters without a module of a known kind that are read as matrices or kernels."""
    known = {layer.name for layer in listed}
    known |= {name for computed in computed_weights(model) for name in computed.parameters}
    parameters = dict(model.named_parameters())
    bare = [
        layer
        for name, use in seen.uses.items()
        if name not in known and not is_adapter(name) and len(use.axes) == 1
        if not parameters[name].is_complex() and not is_scripted(model, name)
        for layer in [_of_parameter(name, tuple(parameters[name].shape), use)]
        if layer is not None
    ]
    stacks = {
        layer.name: _matrices(layer, seen.uses[layer.name])
        for layer in bare
        if layer.kind == "stacked"
    }
    experts = seen.routes.experts(stacks)
    return [replace(x, kind="experts") if x.name in experts else x for x in bare]


def _matrices(layer: Layer, use: Use) -> int:
    """The number of matrices that a parameter holds."""
    (axes,) = use.axes
    return prod(size for size, axis in zip(layer.param_shape, axes, strict=True) if axis == "b")


def _of_parameter(name: str, stored: tuple[int, ...], use: Use) -> Layer | None:
    """A layer of a bare parameter, by its axes in its reads; None where they are unclear."""
    (axes,) = use.axes
    if "o" not in axes or "i" not in axes:
        return None
    path = name.rpartition(".")[0]
    if axes.startswith("oik") and len(axes) < 6:
        kind = f"conv{len(axes) - 2}d"
        return Layer(name, path, kind, outputs_first(stored), stored, groups=use.groups)
    if "k" in axes:
        return None
    letters = [chr(ord("a") + place) for place in range(len(axes))]
    outputs = [own for own, axis in zip(letters, axes, strict=True) if axis in "b1"]
    outputs += [own for own, axis in zip(letters, axes, strict=True) if axis == "o"]
    inputs = [own for own, axis in zip(letters, axes, strict=True) if axis == "i"]
    layout = f"{' '.join(letters)} -> ({' '.join(outputs)}) ({' '.join(inputs)}) 1 1"
    kind = "stacked" if "b" in axes else "matrix"
    return Layer(name, path, kind, view_shape(layout, stored), stored, layout=layout)


def _training_outputs(
    model: nn.Module,
    layers: Sequence[Layer],
    owners: Mapping[str, Sequence[str]],
    shape: Example,
    seen: Trace,
) -> frozenset[str]:
    """The layers that give outputs in training only, such as the auxiliary heads of GoogLeNet."""
    unread = frozenset(layer.name for layer in layers) - seen.uses.keys()
    if not unread:
        return frozenset()
    try:
        return trace(model, layers, owners, shape, training=True).outputs & unread
    except PruningError:  # in training mode some models need labels too
        return frozenset()


def _traced(
    model: nn.Module, layers: Sequence[Layer], uses: Mapping[str, Use], outputs: frozenset[str]
) -> tuple[Layer, ...]:
    """The layers in the order of the model's parameters, with what the run showed."""
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    places = {name: place for place, name in enumerate(names)}
    ordered = sorted(layers, key=lambda layer: places[layer.name])
    first = next((layer.name for layer in ordered if layer.kind in FIRST_KINDS), None)
    return tuple(
        replace(
            layer,
            macs=use.macs,
            bn=use.bn,
            is_output=layer.name in outputs,
            is_first=layer.name == first,
            called=not use.outside,
        )
        for layer in ordered
        for use in [uses.get(layer.name, Use())]
    )


def _check_model(model: nn.Module) -> None:
    """Raises PruningError for TorchScript, lazy and quantised modules, and without matrices."""
    if isinstance(model, torch.jit.ScriptModule):
        raise PruningError(
            "The network is a TorchScript module, which cannot be pruned: give the nn.Module that "
            "it was made from."
        )
    check_lazy(model)
    for name, module in model.named_modules():
        if type(module).__module__.startswith(QUANTISED):
            raise PruningError(
                f"{name} is a quantised module, whose weights are no plain numbers: give the "
                "network as it was before quantisation."
            )
    if not any(parameter.ndim > 1 for parameter in model.parameters()):
        raise _nothing_to_prune(model)


def _check_finite(model: nn.Module, layers: Iterable[Layer]) -> None:
    for layer in layers:
        if not model.get_parameter(layer.name).isfinite().all():
            raise PruningError(
                f"{layer.name} has weights that are NaN or infinite: "
                "load the model again from an undamaged file."
            )


def _nothing_to_prune(model: nn.Module) -> PruningError:
    """The error for a model without prunable weights, with a remedy where there is one."""
    for computed in computed_weights(model):
        return PruningError(
            f"{computed.name} is computed from {' and '.join(computed.parameters)} by "
            f"{computed.how}, so there is no weight to prune: call {computed.remedy} first."
        )
    return PruningError(
        "This model has no weight to prune: it multiplies its input with no convolution, linear, "
        "attention or recurrent weight and with no matrix of its own."
    )
