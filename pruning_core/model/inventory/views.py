"""Every weight as output x input x height x width, and back to the shape of its parameter."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod
from types import MappingProxyType

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from pruning_core.types import Layer

TRANSPOSED = MappingProxyType(
    {
        1: "(g i) o w -> (g o) i 1 w",
        2: "(g i) o h w -> (g o) i h w",
        3: "(g i) o d h w -> (g o) i (d h) w",
    }
)
"""Dimensions of a transposed convolution with g groups -> its layout: inputs are stored first."""
IN_OUT = "i o -> o i 1 1"
"""The layout of a matrix that is stored inputs x outputs, as GPT-2's Conv1D."""


def oihw(tensor: Tensor, layer: Layer) -> Tensor:
    """The layer's tensor as output x input x height x width.

    Linear: O I 1 1; Conv1d: O I 1 K; Conv3d: O I (D H) W. The tensor has the parameter's shape, or
    is flat. It is a view where the layout allows one.
    """
    if not layer.layout:
        return tensor.reshape(layer.shape)
    lengths = _lengths(layer.layout, layer.param_shape, layer.groups)
    return rearrange(tensor.reshape(layer.param_shape), layer.layout, **lengths)


def stored(tensor: Tensor, layer: Layer) -> Tensor:
    """The inverse of `oihw`: a tensor of the OIHW view in the parameter's own shape."""
    if not layer.layout:
        return tensor.reshape(layer.param_shape)
    left, right = layer.layout.split(" -> ")
    lengths = _lengths(layer.layout, layer.param_shape, layer.groups)
    return rearrange(tensor.reshape(layer.shape), f"{right} -> {left}", **lengths)


def view_shape(
    layout: str, param_shape: tuple[int, ...], groups: int = 1
) -> tuple[int, int, int, int]:
    """The shape of the OIHW view of a parameter stored in this layout."""
    lengths = _lengths(layout, param_shape, groups)
    o, i, h, w = (
        prod(lengths[name] for name in re.findall(r"[a-z]", axis))
        for axis in axes_of(layout.split(" -> ")[1])
    )
    return o, i, h, w


def output_axis(layer: Layer) -> int | None:
    """The axis of the stored parameter that runs over the layer's outputs.

    None where no single axis does, as in a grouped transposed convolution.
    """
    if not layer.layout:
        return 0
    left, right = (axes_of(side) for side in layer.layout.split(" -> "))
    outputs = re.findall(r"[a-z]", right[0])
    outputs = [name for name in outputs if name != "g" or layer.groups > 1]
    return left.index(outputs[0]) if len(outputs) == 1 and outputs[0] in left else None


def outputs_first(stored: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The OIHW view of a weight that is stored outputs, inputs, kernel."""
    o, i, *kernel = stored
    h, w = [1, 1, *kernel][-2:] if len(kernel) < 3 else (kernel[0] * kernel[1], kernel[2])
    return o, i, h, w


def weights(model: nn.Module, layers: tuple[Layer, ...]) -> dict[str, Float[Tensor, "_o _i _h _w"]]:
    """The current weights in the OIHW view, detached, on the CPU.

    They are views of the model's own where it is on the CPU and the layout allows one.
    """
    return {
        layer.name: oihw(model.get_parameter(layer.name).detach().cpu(), layer) for layer in layers
    }


def named_parameters(model: nn.Module, layers: Sequence[Layer]) -> dict[str, nn.Parameter]:
    """Every parameter once: a layer's under the layer's name, others under their first name."""
    prunable = {layer.name for layer in layers}
    names: dict[int, tuple[str, nn.Parameter]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if id(parameter) not in names or name in prunable:
            names[id(parameter)] = (name, parameter)
    return dict(names.values())


def axes_of(side: str) -> list[str]:
    """The axes on one side of an einops pattern: "(g o) i h w" -> ["(g o)", "i", "h", "w"]."""
    return re.findall(r"\([^)]*\)|\w+", side)


@lru_cache(maxsize=1024)
def _lengths(layout: str, param_shape: tuple[int, ...], groups: int) -> Mapping[str, int]:
    """The length of every named axis of a layout."""
    axes = axes_of(layout.split(" -> ")[0])
    lengths = {"g": groups} if "g" in layout else {}
    for axis, total in zip(axes, param_shape, strict=True):
        names = re.findall(r"[a-z]", axis)
        given = prod(lengths[name] for name in names if name in lengths)
        lengths |= {name: total // given for name in names if name not in lengths}
    return lengths
