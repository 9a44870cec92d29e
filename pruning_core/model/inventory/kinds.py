"""The kinds of modules whose weights can be pruned, and how each weight is stored."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from pruning_core.model.inventory.views import IN_OUT, TRANSPOSED, outputs_first, view_shape
from pruning_core.types import Layer

SEPARATE = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
CONVOLUTIONS = (
    "conv1d",
    "conv2d",
    "depthwise",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
)
"""Kinds whose outputs have their channels on the second axis."""
FIRST_KINDS = ("conv1d", "conv2d", "conv3d")
ADAPTERS = ("lora_A", "lora_B", "lora_a", "lora_b", "lora_embedding_A", "lora_embedding_B")
"""Names of the children that hold the matrices of a LoRA adapter (peft, torchtune)."""

COPIES = ("original_module", "modules_to_save")
"""Names of the children of peft's wrapper of a module that it trains whole."""

Listed = Iterator[tuple[Layer, nn.Parameter]]


def candidates(model: nn.Module, *, embeddings: bool = False) -> Listed:
    """The weights of all modules of a known kind, under every name that they have.

    embeddings: list embeddings too. A weight that is not a parameter of its module (weight norm,
    pruning by torch) is left out, and so are the matrices of LoRA adapters.
    """
    for path, module in model.named_modules(remove_duplicate=False):
        lister = next((KINDS[kind] for kind in KINDS if isinstance(module, kind)), None)
        if lister is None and is_conv1d(module):
            lister = _conv1d_of_gpt2
        if isinstance(module, nn.Embedding) and not embeddings:
            continue
        if lister is not None and not _inside_attention(model, path) and not is_adapter(path):
            yield from _adapted(model, path, lister(path, module))


def is_conv1d(module: nn.Module) -> bool:
    """Is it GPT-2's Conv1D, a Linear stored inputs x outputs? By name, without an import."""
    weight = getattr(module, "weight", None)
    return (
        type(module).__name__ == "Conv1D"
        and isinstance(weight, Tensor)
        and weight.ndim == 2
        and getattr(module, "nf", weight.shape[1]) == weight.shape[1]
    )


def is_adapter(path: str) -> bool:
    """Does the path lead into a LoRA adapter?"""
    return any(part in ADAPTERS for part in path.split("."))


def is_replaced(model: nn.Module, name: str) -> bool:
    """Is it one of the copies of a module of which peft trains one (`modules_to_save`)?"""
    path = name.split(".")
    places = [place for place, part in enumerate(path) if part in COPIES]
    owners = (model.get_submodule(".".join(path[:place])) for place in places)
    return any(all(hasattr(owner, part) for part in COPIES) for owner in owners)


def is_scripted(model: nn.Module, name: str) -> bool:
    """Does the parameter belong to a TorchScript module?"""
    return isinstance(model.get_submodule(name.rpartition(".")[0]), torch.jit.ScriptModule)


def has_adapter(module: nn.Module) -> bool:
    """Has the module LoRA matrices among its children?"""
    return any(hasattr(module, name) for name in ADAPTERS)


def _adapted(model: nn.Module, path: str, listed: Listed) -> Listed:
    parent = path.rpartition(".")[0]
    adapted = has_adapter(model.get_submodule(path)) or (
        path.endswith("base_layer") and has_adapter(model.get_submodule(parent))
    )
    for layer, parameter in listed:
        yield (replace(layer, kind="adapted") if adapted else layer), parameter


def _inside_attention(model: nn.Module, path: str) -> bool:
    parent = path.rpartition(".")[0]
    return isinstance(model.get_submodule(parent), nn.MultiheadAttention) if path else False


def _own(module: nn.Module, name: str) -> nn.Parameter | None:
    """The parameter of that name, None where it is computed or there is none."""
    return module._parameters.get(name)


def full_name(path: str, name: str) -> str:
    """The name in the network of a child or parameter of the module at `path`."""
    return f"{path}.{name}" if path else name


def _layer(path: str, name: str, kind: str, parameter: nn.Parameter, **more: Any) -> Layer:
    """A layer of a weight that is stored outputs first, or in the given layout."""
    stored = tuple(parameter.shape)
    layout = more.get("layout", "")
    shape = view_shape(layout, stored, more.get("groups", 1)) if layout else outputs_first(stored)
    return Layer(full_name(path, name), path, kind, shape, stored, **more)


def _linear(path: str, module: nn.Module) -> Listed:
    if (weight := _own(module, "weight")) is not None:
        yield _layer(path, "weight", "linear", weight), weight


def _conv1d_of_gpt2(path: str, module: nn.Module) -> Listed:
    if (weight := _own(module, "weight")) is not None:
        yield _layer(path, "weight", "linear", weight, layout=IN_OUT), weight


def _bilinear(path: str, module: nn.Module) -> Listed:
    if (weight := _own(module, "weight")) is not None:
        layout = "o i j -> o (i j) 1 1"
        yield _layer(path, "weight", "bilinear", weight, layout=layout), weight


def _embedding(path: str, module: nn.Module) -> Listed:
    if (weight := _own(module, "weight")) is not None:
        yield _layer(path, "weight", "embedding", weight), weight


def _convolution(path: str, module: Any) -> Listed:
    if (weight := _own(module, "weight")) is not None:
        flat = weight.ndim < 5
        depthwise = flat and module.groups > 1 and module.groups == module.in_channels
        kind = "depthwise" if depthwise else f"conv{weight.ndim - 2}d"
        yield _layer(path, "weight", kind, weight, groups=module.groups), weight


def _transposed(path: str, module: Any) -> Listed:
    if (weight := _own(module, "weight")) is not None:
        dimensions = weight.ndim - 2
        yield (
            _layer(
                path,
                "weight",
                f"conv_transpose{dimensions}d",
                weight,
                groups=module.groups,
                layout=TRANSPOSED[dimensions],
            ),
            weight,
        )


def _recurrent(path: str, module: nn.Module) -> Listed:
    for name, parameter in module.named_parameters(recurse=False):
        if name.startswith("weight_") and parameter.ndim == 2:
            yield _layer(path, name, "rnn", parameter), parameter


def _attention(path: str, module: Any) -> Listed:
    packed = module.in_proj_weight is not None
    names = (
        [("in_proj_weight", "attention_in")]
        if packed
        else [(name, "attention_proj") for name in SEPARATE]
    )
    more = {"heads": module.num_heads, "attention": path}
    for name, kind in names:
        if (parameter := _own(module, name)) is not None:
            yield _layer(path, name, kind, parameter, **more), parameter
    if (parameter := _own(module.out_proj, "weight")) is not None:
        yield _layer(path, "out_proj.weight", "attention_out", parameter, **more), parameter


KINDS: dict[type[nn.Module], Callable[[str, Any], Listed]] = {
    nn.MultiheadAttention: _attention,
    nn.Linear: _linear,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.Conv3d: _convolution,
    nn.ConvTranspose1d: _transposed,
    nn.ConvTranspose2d: _transposed,
    nn.ConvTranspose3d: _transposed,
    nn.Bilinear: _bilinear,
    nn.Embedding: _embedding,
    nn.RNNBase: _recurrent,
    nn.RNNCellBase: _recurrent,
}
"""Type of a module -> (its path, the module) -> its weights."""
