"""Why a layer does not support a granularity: one sentence, or None where it does."""

from collections.abc import Callable
from math import prod
from types import MappingProxyType

from pruning_core.types import Layer

Refusal = Callable[[Layer], str | None]
"""Layer -> why it does not support a granularity, or None."""


KEEPS_OUTPUTS = MappingProxyType(
    {
        "rnn": "{0} is read again at every step: removing one of its rows would leave a hidden "
        "unit without one of its gates.",
        "experts": "{0} holds several experts in one parameter, of which an input reads some: what "
        "reads one of its rows is not followed.",
        "stacked": "{0} holds several matrices in one parameter: what reads one of its rows is not "
        "followed.",
        "matrix": "{0} is a parameter without a module, so that the readers of its outputs are not "
        "known.",
        "embedding": "{0} is an embedding: each of its rows is a token, which the input can name.",
        "adapted": "{0} has a LoRA adapter beside it: merge and remove the adapter "
        "(merge_and_unload) to remove whole outputs.",
        "bilinear": "{0} multiplies two inputs, so that what reads its outputs cannot be followed.",
    }
)
"""Kind of layer -> why none of its outputs can be removed as a whole; {0}: the layer's name."""
MIXED_INPUTS = MappingProxyType(
    {
        "rnn": "{0} is recurrent: its inputs are read at every step by all gates, so that removing "
        "one would change the size of the input or of the state.",
        "experts": "{0} holds several experts side by side: one input would have to be removed "
        "from all of them.",
        "stacked": "{0} holds several matrices side by side: one input would have to be removed "
        "from all of them.",
        "embedding": "{0} is an embedding: its input is a token's number, which has no channels.",
        "bilinear": "{0} multiplies two inputs with each other: a column belongs to a pair of "
        "them.",
    }
)
"""Kind of layer -> why none of its inputs can be removed as a whole; {0}: the layer's name."""


def all_supported(_layer: Layer) -> str | None:
    """Every layer is supported."""
    return None


def no_kernels(group: str, axes: tuple[int, ...]) -> Refusal:
    """Refuses layers in which the group would be a single weight: all these axes have length 1."""

    def refuses(layer: Layer) -> str | None:
        if axes == (2,) and len(layer.param_shape) == 5:
            return (
                f"{layer.name} has kernels of three dimensions, where a {group} would be a plane: "
                "use kernel or vector_row for it."
            )
        if any(layer.shape[axis] > 1 for axis in axes):
            return None
        h, w = layer.shape[2:]
        return (
            f"{layer.name} has {h} x {w} kernels, where a {group} is a single weight: "
            "use fine-grained for it."
        )

    return refuses


def no_rows(layer: Layer) -> str | None:
    """Row: each output needs more than one weight."""
    if prod(layer.shape[1:]) > 1:
        return None
    return f"{layer.name} has one weight per output, so nothing competes inside a row."


def no_filters(layer: Layer) -> str | None:
    """Filter: more than one, and not the model's outputs."""
    if layer.is_output:
        return (
            f"{layer.name} gives the model's outputs: "
            "removing one of its filters would remove a class."
        )
    if layer.kind in KEEPS_OUTPUTS:
        return KEEPS_OUTPUTS[layer.kind].format(layer.name)
    return f"{layer.name} has a single filter." if layer.shape[0] == 1 else None


def no_channels(layer: Layer) -> str | None:
    """Channel: all filters must read the same input channels, more than one."""
    if layer.kind == "depthwise":
        return (
            f"{layer.name} is depthwise: each of its filters reads one channel, "
            "so use filter to remove a channel."
        )
    if layer.kind in MIXED_INPUTS:
        return MIXED_INPUTS[layer.kind].format(layer.name)
    if layer.groups > 1:
        return (
            f"{layer.name} is a grouped convolution: "
            "an input channel index means a different channel in each group."
        )
    return f"{layer.name} has a single input channel." if layer.shape[1] == 1 else None


def no_positions(layer: Layer) -> str | None:
    """Shape-wise: each output needs more than one weight, and inputs of its own."""
    if layer.kind in MIXED_INPUTS:
        return MIXED_INPUTS[layer.kind].format(layer.name)
    if prod(layer.shape[1:]) > 1:
        return None
    return f"{layer.name} has one weight per output, so there is a single shape position."


def no_n_of_m(n: int, m: int) -> Refusal:
    """N:M: the input channels must be a multiple of M."""

    def refuses(layer: Layer) -> str | None:
        if layer.shape[1] % m == 0:
            return None
        return (
            f"{layer.name} has {layer.shape[1]} input channels, "
            f"which {n}:{m} cannot split into runs of {m}."
        )

    return refuses


def no_blocks(p: int, q: int) -> Refusal:
    """Blocks of p x q: they must divide the layer into more than one block."""

    def refuses(layer: Layer) -> str | None:
        o, i = layer.shape[:2]
        if o % p or i % q:
            return (
                f"{layer.name} has {o} x {i} filters x channels, "
                f"which blocks of {p} x {q} do not divide."
            )
        return f"{layer.name} is a single block of {p} x {q}." if (o, i) == (p, q) else None

    return refuses


def no_heads(layer: Layer) -> str | None:
    """Head: part of an attention with more than one head."""
    if not layer.heads:
        return f"{layer.name} is not part of an attention layer, so it has no heads."
    return f"{layer.name} has a single head." if layer.heads == 1 else None
