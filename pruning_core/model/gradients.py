"""What the labelled data says about the weights, by derivatives of the loss: the only backward
passes through it for scoring.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional
from torch.nn.functional import cross_entropy
from torch.overrides import TorchFunctionMode

from pruning_core.model.inventory import oihw
from pruning_core.model.model_io import answer, arguments, count, each, logits, moved, part
from pruning_core.types import Batches, Inputs, Layer, PruningError

PerWeight = dict[str, Float[Tensor, "_o _i _h _w"]]
HELD = 2**28
"""Bytes of per-image gradients that are held at a time: 256 MiB."""
MOST_AT_ONCE = 64
"""Images whose gradients are taken in one call, at most."""


def gradients(model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> PerWeight:
    """dL/dW of the mean cross-entropy over all images of the batches, in evaluation mode, OIHW on
    the CPU.

    Works on a copy. Raises PruningError without batches or for a gradient that is not finite.
    """
    work, parameters = _private(model, layers, batches)
    return _named(
        layers, _summed(work, parameters, batches, lambda loss: _slopes(loss, parameters))
    )


def batch_gradients(
    model: nn.Module, layers: tuple[Layer, ...], batches: Batches, size: int
) -> Iterator[PerWeight]:
    """dL/dW of one mini-batch of at most `size` images after another: each the mean over its
    images, else as `gradients`.
    """
    work, parameters = _private(model, layers, batches)
    for x, y in _parts(batches, size, parameters[0].device if parameters else torch.device("cpu")):
        with torch.enable_grad():
            found = _slopes(cross_entropy(logits(work, x), y), parameters)
        yield _named(layers, found)


def hessian_gradients(
    model: nn.Module, layers: tuple[Layer, ...], batches: Batches, temperature: float = 1.0
) -> PerWeight:
    """H g of the mean cross-entropy of logits / temperature: g its gradient, H its second
    derivatives among these weights.

    As d/dW of <g, dL/dW> with g held (Pearlmutter 1994), OIHW on the CPU; on a copy in evaluation
    mode. Raises as `gradients`.
    """
    work, parameters = _private(model, layers, batches)
    held = _summed(work, parameters, batches, lambda loss: _slopes(loss, parameters), temperature)

    def turned(loss: Tensor) -> list[Tensor]:
        flow = sum(
            (
                (g * now).sum()
                for g, now in zip(held, _slopes(loss, parameters, graph=True), strict=True)
            ),
            loss * 0,
        )
        return _slopes(flow, parameters)

    with _PlainAttention():
        return _named(layers, _summed(work, parameters, batches, turned, temperature))


def squared_gradients(model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> PerWeight:
    """Mean over the images of (dL_n/dW)^2, L_n the cross-entropy of one image: the diagonal of the
    empirical Fisher matrix.

    Per-image gradients by torch.func, or one image after the other where it cannot follow the
    model, on a copy in evaluation mode, OIHW on the CPU. Raises PruningError as `gradients`.
    """
    work, parameters = _private(model, layers, batches)
    values = {
        layer.name: parameter.detach() for layer, parameter in zip(layers, parameters, strict=True)
    }

    def loss(changed: dict[str, Tensor], x: Inputs, y: Tensor) -> Tensor:
        return cross_entropy(
            answer(functional_call(work, changed, *arguments(each(x, lambda t: t[None])))), y[None]
        )

    singly = vmap(grad(loss), in_dims=(None, 0, 0))
    images = sum(len(y) for _, y in batches)
    size = min(MOST_AT_ONCE, max(1, HELD // sum(4 * value.numel() for value in values.values())))
    total = {name: torch.zeros_like(value) for name, value in values.items()}
    together = True
    with _PlainAttention():
        for x, y in _parts(batches, size, values[layers[0].name].device):
            if together:
                try:
                    squares = [slopes.square().sum(0) for slopes in singly(values, x, y).values()]
                except torch.OutOfMemoryError:
                    raise
                except RuntimeError:  # the model looks at values, which torch.func cannot follow for many images at once
                    together = False
            if not together:
                squares = _one_by_one(work, parameters, x, y)
            for held, found in zip(total.values(), squares, strict=True):
                held += found / images
    return _named(layers, list(total.values()))


def _one_by_one(
    work: nn.Module, parameters: Sequence[Tensor], x: Inputs, y: Tensor
) -> list[Tensor]:
    """The sum over images of the squared gradient of one."""
    total = [torch.zeros_like(parameter) for parameter in parameters]
    for at in range(len(y)):
        with torch.enable_grad():
            slopes = _slopes(
                cross_entropy(logits(work, part(x, at, at + 1)), y[at : at + 1]), parameters
            )
        for held, found in zip(total, slopes, strict=True):
            held += found.square()
    return total


def _private(
    model: nn.Module, layers: tuple[Layer, ...], batches: Batches
) -> tuple[nn.Module, list[Tensor]]:
    """A copy in evaluation mode in which the layers' weights alone have gradients, and those
    weights.
    """
    if not batches:
        raise PruningError(
            "This criterion reads gradients: give it at least one batch of labelled images."
        )
    work = deepcopy(model).eval().requires_grad_(False)
    return work, [work.get_parameter(layer.name).requires_grad_(True) for layer in layers]


def _slopes(value: Tensor, parameters: Sequence[Tensor], *, graph: bool = False) -> list[Tensor]:
    """d value / d parameter, zero for a parameter that is not used; graph: it can be differentiated
    again.
    """
    return list(
        torch.autograd.grad(
            value, parameters, create_graph=graph, materialize_grads=True, allow_unused=True
        )
    )


def _summed(
    work: nn.Module,
    parameters: Sequence[Tensor],
    batches: Batches,
    share: Callable[[Tensor], list[Tensor]],
    temperature: float = 1.0,
) -> list[Tensor]:
    """The sum over batches of share(the batch's share of the mean loss over all images)."""
    total = [torch.zeros_like(parameter) for parameter in parameters]
    images = sum(len(y) for _, y in batches)
    for x, y in _parts(batches, None, total[0].device if total else torch.device("cpu")):
        with torch.enable_grad():
            found = share(cross_entropy(logits(work, x) / temperature, y, reduction="sum") / images)
        for held, now in zip(total, found, strict=True):
            held += now.detach()
    return total


def _parts(
    batches: Batches, size: int | None, device: torch.device
) -> Iterator[tuple[Inputs, Tensor]]:
    """The batches on the device, cut to that many images."""
    for x, y in batches:
        if count(x) != len(y):
            raise PruningError(f"A batch has {count(x)} inputs but {len(y)} labels.")
        step = size or len(y)
        for start in range(0, len(y), step):
            yield moved(part(x, start, start + step), device), y[start : start + step].to(device)


def _named(layers: tuple[Layer, ...], found: Sequence[Tensor]) -> PerWeight:
    if broken := [
        layer.name for layer, each in zip(layers, found, strict=True) if not each.isfinite().all()
    ]:
        raise PruningError(
            f"The gradient of {broken[0]} is not finite on the calibration images: check weights and data."
        )
    return {layer.name: oihw(each, layer).cpu() for layer, each in zip(layers, found, strict=True)}


class _PlainAttention(TorchFunctionMode):
    """Attention by plain products and softmax in place of the fused kernels, which have no second
    derivative; in this thread.
    """

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return _PLAIN.get(func, func)(*args, **(kwargs or {}))


def _attention(*args: Any, **kwargs: Any) -> Tensor:
    output: Tensor = torch.ops.aten._scaled_dot_product_attention_math(*args, **kwargs)[0]
    return output


def _heads(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    return functional.multi_head_attention_forward(*args, **(kwargs | {"need_weights": True}))


_PLAIN: dict[Any, Callable[..., Any]] = {
    functional.scaled_dot_product_attention: _attention,
    functional.multi_head_attention_forward: _heads,
}
