"""What one layer says about some images: its output maps and its heads' attention, read by hooks on
a private skeleton.
"""

from collections.abc import Callable
from inspect import signature
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pruning_core.model.graph import skeleton
from pruning_core.model.inventory import CONVOLUTIONS
from pruning_core.model.model_io import call, moved
from pruning_core.types import Inputs, Layer, PruningError


def feature_maps(model: nn.Module, layer: Layer, images: Inputs) -> Float[Tensor, "n o h w"]:
    """What the layer's module gives, before batch norm and activation: one map per image and output
    channel, on the CPU.

    Convolutions N O H W (1-d: N O 1 L); Linear N O 1 1, over T tokens N O 1 T, over a grid N O H W.
    images: model-ready. Of a module that is called more than once, its first call. Raises
    PruningError for an attention layer and a module never called.
    """
    if layer.fused:
        raise PruningError(
            f"{layer.name} is part of an attention layer, which has no feature maps: look at its attention maps."
        )
    out = _first_call(model, layer, images, nn.Identity())
    out = out.movedim(-1, 1) if layer.kind not in CONVOLUTIONS else out
    n, o, *grid = out.shape
    return out.reshape(n, o, *[1, 1, *grid][-2:]) if len(grid) < 2 else out.flatten(2, -2)


def attention_maps(model: nn.Module, layer: Layer, images: Inputs) -> Float[Tensor, "n heads l s"]:
    """How much each token (l) attends to each token (s), per head: softmax(q k^T / sqrt(d)), rows
    sum to 1; on the CPU.

    The module itself computes them on its own inputs, with its masks if it has any; Vaswani et al.
    2017, arXiv:1706.03762. Raises PruningError for a layer without heads, for attention that is no
    nn.MultiheadAttention and for a module that is not called.
    """
    if not layer.heads:
        raise PruningError(
            f"{layer.name} is not part of an attention layer, so it has no attention maps."
        )
    if not layer.fused:
        raise PruningError(
            f"The attention of {layer.name} does not give its maps, as nn.MultiheadAttention does."
        )
    return _first_call(model, layer, images, lambda out: out[1], _asked_for_weights)


def relative_change(
    dense: Float[Tensor, "n k h w"], pruned: Float[Tensor, "n k h w"]
) -> Float[Tensor, " k"]:
    """||d - p|| / ||d|| per channel or head, L2 over images and positions; 0 where both are zero,
    inf where only d is.
    """
    moved, size = (
        (each.transpose(0, 1).flatten(1).double().norm(dim=1)) for each in (dense - pruned, dense)
    )
    return torch.where(moved == 0, moved, moved / size).float()


def _asked_for_weights(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """The call's arguments, but the weights of every head are wanted; torchvision and the zoo do
    without them for speed.
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
    """That part of what the layer's module returns when it is called first; ask: a hook that
    changes the call's arguments.
    """
    copy = skeleton(model).eval()
    seen = list[Tensor]()
    module = copy.get_submodule(layer.module)
    if ask is not None:
        module.register_forward_pre_hook(ask, with_kwargs=True)
    # A copy at once: an activation behind the module may write over its output.
    module.register_forward_hook(
        lambda _module, _args, out: seen.append(part(out).detach().cpu().clone())
    )
    with torch.no_grad():
        call(copy, moved(images, next(copy.parameters()).device))
    if not seen:
        raise PruningError(
            f"The model reads {layer.name} without calling its module {layer.module}, so there is nothing to see."
        )
    return seen[0]
