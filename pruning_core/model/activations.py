"""A layer's output maps and its heads' attention on some images."""

from collections.abc import Callable
from inspect import signature
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pruning_core.model.graph import skeleton
from pruning_core.model.inventory import CONVOLUTIONS
from pruning_core.model.model_io import call, to_device
from pruning_core.types import Inputs, Layer, PruningError


def feature_maps(model: nn.Module, layer: Layer, images: Inputs) -> Float[Tensor, "n o h w"]:
    """The output of the layer's module, before batch norm and activation, on the CPU.

    One map per image and output channel: convolutions N O H W (1-d: N O 1 L); Linear N O 1 1, over
    T tokens N O 1 T, over a grid N O H W. images: model-ready. Of a module that is called more than
    once it is the first call. Raises PruningError for an attention layer and for a module that is
    never called.
    """
    if layer.fused:
        raise PruningError(
            f"{layer.name} is part of an attention layer, which has no feature maps: "
            "look at its attention maps."
        )
    if layer.kind in ("rnn", "matrix", "stacked", "experts", "embedding"):
        raise PruningError(
            f"{layer.name} has no module that gives its outputs alone, so there is nothing to see."
        )
    out = _first_call(model, layer, images, nn.Identity())
    out = out.movedim(-1, 1) if layer.kind not in CONVOLUTIONS else out
    n, o, *grid = out.shape
    return out.reshape(n, o, *[1, 1, *grid][-2:]) if len(grid) < 2 else out.flatten(2, -2)


def attention_maps(model: nn.Module, layer: Layer, images: Inputs) -> Float[Tensor, "n heads l s"]:
    """How much each token (l) attends to each token (s), per head, on the CPU. Rows sum to 1.

    softmax(q k^T / sqrt(d)), computed by the module itself on its own inputs, with its masks if it
    has any. Vaswani et al. 2017, arXiv:1706.03762. Raises PruningError for a layer without heads,
    for attention other than nn.MultiheadAttention and for a module that is not called.
    """
    if not layer.heads:
        raise PruningError(
            f"{layer.name} is not part of an attention layer, so it has no attention maps."
        )
    if not layer.fused:
        raise PruningError(
            f"The attention of {layer.name} does not give its maps, as nn.MultiheadAttention does."
        )
    return _first_call(model, layer, images, lambda out: out[1], _with_head_weights)


def relative_change(
    dense: Float[Tensor, "n k h w"], pruned: Float[Tensor, "n k h w"]
) -> Float[Tensor, " k"]:
    """||d - p|| / ||d|| per channel or head, L2 over images and positions.

    0 where both are zero, inf where only d is zero.
    """
    change = _channel_norms(dense - pruned)
    return torch.where(change == 0, change, change / _channel_norms(dense)).float()


def _channel_norms(maps: Tensor) -> Float[Tensor, " k"]:
    norms: Tensor = maps.transpose(0, 1).flatten(1).double().norm(dim=1)
    return norms


def _with_head_weights(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """The call's arguments, changed so that the module gives every head's attention.

    torchvision and the zoo do not ask for it, which is faster.
    """
    bound = signature(module.forward).bind(*args, **kwargs)
    bound.arguments |= {"need_weights": True, "average_attn_weights": False}
    return bound.args, bound.kwargs


def _first_call(
    model: nn.Module,
    layer: Layer,
    images: Inputs,
    part: Callable[[Any], Tensor],
    ask: Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], Any] | None = None,
) -> Tensor:
    """A part of the first output of the layer's module.

    ask: a hook that changes the call's arguments.
    """
    copy = skeleton(model).eval()
    outputs = list[Tensor]()
    module = copy.get_submodule(layer.module)
    if ask is not None:
        module.register_forward_pre_hook(ask, with_kwargs=True)
    # Cloned at once, because an activation after the module may write over its output.
    module.register_forward_hook(
        lambda _module, _args, out: outputs.append(part(out).detach().cpu().clone())
    )
    with torch.no_grad():
        call(copy, to_device(images, next(copy.parameters()).device))
    if not outputs:
        raise PruningError(
            f"The model reads {layer.name} without calling its module {layer.module}, "
            "so there is nothing to see."
            if layer.macs
            else f"The model does not use {layer.name} for this input, so there is nothing to see."
        )
    return outputs[0]
