"""Derivatives of the task's loss with respect to the weights, on data with targets."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from math import sqrt
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from pruning_core.model.checkpointing import refuse_reentrant
from pruning_core.model.inventory import oihw
from pruning_core.model.model_io import (
    arguments,
    as_read_by,
    call,
    copy_model,
    map_tensors,
    sample_count,
    sample_range,
    to_device,
)
from pruning_core.model.precision import computes_in_half
from pruning_core.tasks.task import Task
from pruning_core.types import Batches, Inputs, Layer, PruningError, task_of
from pruning_core.user_code import user_code

PerWeight = dict[str, Float[Tensor, "_o _i _h _w"]]
GRADIENT_BYTES = 2**28
"""Most bytes of per-image gradients in memory at one time: 256 MiB."""
STEP = 1e-9
"""The step of a difference of gradients, in share of the length of all weights.

A step of this size crosses hardly any kink of a ReLU; in double precision, rounding is 1e-7 of H g.
"""
MAX_IMAGES = 64
"""Most images whose gradients one call computes."""
NO_GRADIENT = (
    "No gradient of the loss reaches these weights: the forward pass does not read them, or it "
    "reads them under torch.no_grad; choose a criterion that reads no gradients."
)
ACTION = "Computing gradients of the network"


def gradients(
    model: nn.Module, layers: tuple[Layer, ...], batches: Batches, batch_statistics: bool = False
) -> PerWeight:
    """dL/dW of the task's mean loss over all images of the batches, OIHW, on the CPU.

    On a copy in evaluation mode. batch_statistics: its batch norms use each batch's own mean and
    variance, as in training. Raises PruningError without batches and for a gradient that is not
    finite.
    """
    work, parameters = _copy_with_gradients(model, layers, batches, batch_statistics)
    with user_code(ACTION):
        total = _summed(work, parameters, batches, lambda loss: _gradients(loss, parameters))
    return _named(layers, total)


def batch_gradients(
    model: nn.Module, layers: tuple[Layer, ...], batches: Batches, size: int
) -> Iterator[PerWeight]:
    """dL/dW of one mini-batch of at most `size` images after another.

    Each is the mean over its images, otherwise as `gradients`.
    """
    work, parameters = _copy_with_gradients(model, layers, batches)
    for x, y in _mini_batches(work, batches, size):
        with user_code(ACTION), torch.enable_grad():
            gradient = _gradients(_loss(task_of(batches), work, x, y), parameters)
        yield _named(layers, gradient)


def hessian_gradients(
    model: nn.Module,
    layers: tuple[Layer, ...],
    batches: Batches,
    temperature: float = 1.0,
    batch_statistics: bool = False,
) -> PerWeight:
    """H g of the task's mean loss of logits / temperature, OIHW, on the CPU.

    Outputs that are not logits of classes (`Task.gives_logits`) are not divided.

    g: its gradient; H: its second derivatives with respect to these weights. Computed as d/dW of
    <g, dL/dW> with g constant (Pearlmutter 1994), on a copy in evaluation mode; where an operation
    has no second derivative, as a difference of gradients. batch_statistics and errors: as
    `gradients`.
    """
    work, parameters = _copy_with_gradients(model, layers, batches, batch_statistics)
    with user_code(ACTION):
        fixed = _summed(
            work, parameters, batches, lambda loss: _gradients(loss, parameters), temperature
        )

    def product(loss: Tensor) -> list[Tensor]:
        own = _gradients(loss, parameters, graph=True)
        dot = sum(((g * now).sum() for g, now in zip(fixed, own, strict=True)), loss * 0)
        return _gradients(dot, parameters)

    with _PlainAttention():
        try:
            products = _summed(work, parameters, batches, product, temperature)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            # An operation has no second derivative, as hardswish.
            products = _differences(work, parameters, fixed, batches, temperature)
    return _named(layers, products)


def _differences(
    work: nn.Module,
    parameters: Sequence[Tensor],
    direction: Sequence[Tensor],
    batches: Batches,
    temperature: float,
) -> list[Tensor]:
    """H g by a central difference of gradients: (dL/dW(w + e g) - dL/dW(w - e g)) / 2e.

    In double precision, e |g| = `STEP` |w|. direction: g.
    """
    work.double()
    base = [parameter.detach().clone() for parameter in parameters]
    goal = [g.double() for g in direction]
    length = _length(goal)
    step = STEP * (_length(base) or 1.0) / (length or 1.0)
    products = [torch.zeros_like(value) for value in base]
    for sign in (1, -1):
        with torch.no_grad():
            for parameter, value, g in zip(parameters, base, goal, strict=True):
                parameter.copy_(value + sign * step * g)
        gradient = _summed(
            work, parameters, batches, lambda loss: _gradients(loss, parameters), temperature
        )
        for product, own in zip(products, gradient, strict=True):
            product += sign * own / (2 * step)
    return [product.to(g.dtype) for product, g in zip(products, direction, strict=True)]


def _length(tensors: Sequence[Tensor]) -> float:
    """The Euclidean norm of all numbers together."""
    return sqrt(sum(float(tensor.square().sum()) for tensor in tensors))


def squared_gradients(model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> PerWeight:
    """Mean over the images of (dL_n/dW)^2, L_n the task's loss of image n, OIHW, on the CPU.

    This is the diagonal of the empirical Fisher matrix. torch.func computes the gradients of many
    images together; where it cannot follow the model, they are computed image by image. On a copy
    in evaluation mode. Raises as `gradients`.
    """
    work, parameters = _copy_with_gradients(model, layers, batches)
    values = {
        layer.name: parameter.detach() for layer, parameter in zip(layers, parameters, strict=True)
    }
    task = task_of(batches)
    per_image = _per_image_gradients(work, task)
    images = sum(len(y) for _, y in batches)
    size = min(
        MAX_IMAGES, max(1, GRADIENT_BYTES // sum(4 * value.numel() for value in values.values()))
    )
    total = {name: torch.zeros_like(value) for name, value in values.items()}
    together = True
    with _PlainAttention(), warnings.catch_warnings():
        # torch.func has no rule of its own for recurrent and bilinear layers.
        warnings.filterwarnings("ignore", "There is a performance drop")
        for x, y in _mini_batches(work, batches, size):
            if together:
                try:
                    squares = [g.square().sum(0) for g in per_image(values, x, y).values()]
                except torch.OutOfMemoryError:
                    raise
                except RuntimeError:
                    # torch.func cannot follow models that read values.
                    together = False
            if not together:
                squares = _one_by_one(work, parameters, x, y, task)
            for summed, square in zip(total.values(), squares, strict=True):
                summed += square / images
        if together and not any(bool(summed.any()) for summed in total.values()):
            x, y = next(_mini_batches(work, batches, 1))
            _one_by_one(work, parameters, x, y, task)  # raises where nothing reaches the weights
    return _named(layers, list(total.values()))


def _loss(
    task: Task, work: nn.Module, x: Inputs, y: Tensor, reduction: str = "mean", by: float = 1.0
) -> Tensor:
    """The task's loss of a batch. by: a temperature that divides the outputs where they are logits.

    Raises PruningError for targets that do not fit the outputs.
    """
    outputs = task.outputs(call(work, x))
    task.check(outputs, y)
    return task.loss(outputs / by if task.gives_logits else outputs, y, reduction)


def _per_image_gradients(work: nn.Module, task: Task) -> Callable[..., dict[str, Tensor]]:
    """A function of weights by name, images and targets that gives each image's own gradients."""

    def loss(changed: dict[str, Tensor], x: Inputs, y: Tensor) -> Tensor:
        out = functional_call(work, changed, *arguments(map_tensors(x, lambda t: t[None])))
        return task.loss(task.outputs(out), y[None])

    gradients_of_one = grad(loss)
    per_image: Callable[..., dict[str, Tensor]] = vmap(gradients_of_one, in_dims=(None, 0, 0))
    return per_image


def _one_by_one(
    work: nn.Module, parameters: Sequence[Tensor], x: Inputs, y: Tensor, task: Task
) -> list[Tensor]:
    """The sum over images of the squared gradient of one image."""
    total = [torch.zeros_like(parameter) for parameter in parameters]
    for at in range(len(y)):
        with user_code(ACTION), torch.enable_grad():
            one = sample_range(x, at, at + 1)
            gradient = _gradients(_loss(task, work, one, y[at : at + 1]), parameters)
        for summed, own in zip(total, gradient, strict=True):
            summed += own.square()
    return total


def _copy_with_gradients(
    model: nn.Module, layers: tuple[Layer, ...], batches: Batches, batch_statistics: bool = False
) -> tuple[nn.Module, list[Tensor]]:
    """A copy in evaluation mode in which only the layers' weights have gradients; these weights.

    batch_statistics: its batch norms are in training mode.
    """
    if not any(len(y) for _, y in batches):
        raise PruningError(
            "This criterion reads gradients: give it at least one batch of labelled images."
        )
    work = copy_model(model).eval().requires_grad_(False)
    if computes_in_half(work):
        work = work.float()
    x, _ = next(_mini_batches(work, batches, 1))
    refuse_reentrant(work, x, ACTION)
    for module in work.modules() if batch_statistics else ():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()
    return work, [work.get_parameter(layer.name).requires_grad_(True) for layer in layers]


def _gradients(value: Tensor, parameters: Sequence[Tensor], *, graph: bool = False) -> list[Tensor]:
    """d value / d parameter, zero for a parameter that is not used.

    graph: the result can be differentiated again. Raises PruningError where the value depends on
    none of them.
    """
    if not value.requires_grad:
        raise PruningError(NO_GRADIENT)
    gradients = torch.autograd.grad(value, parameters, create_graph=graph, allow_unused=True)
    if all(gradient is None for gradient in gradients):
        raise PruningError(NO_GRADIENT)
    return [
        torch.zeros_like(own) if gradient is None else gradient
        for own, gradient in zip(parameters, gradients, strict=True)
    ]


def _summed(
    work: nn.Module,
    parameters: Sequence[Tensor],
    batches: Batches,
    share: Callable[[Tensor], list[Tensor]],
    temperature: float = 1.0,
) -> list[Tensor]:
    """The sum over batches of share(the batch's part of the mean loss over all images)."""
    total = [torch.zeros_like(parameter) for parameter in parameters]
    images = sum(len(y) for _, y in batches)
    task = task_of(batches)
    for x, y in _mini_batches(work, batches, None):
        with torch.enable_grad():
            parts = share(_loss(task, work, x, y, "sum", temperature) / images)
        for summed, own in zip(total, parts, strict=True):
            summed += own.detach()
    return total


def _mini_batches(
    model: nn.Module, batches: Batches, size: int | None
) -> Iterator[tuple[Inputs, Tensor]]:
    """The batches on the model's device and in its type, in parts of at most `size` images."""
    device = next(model.parameters()).device
    for x, y in batches:
        if sample_count(x) != len(y):
            raise PruningError(f"A batch has {sample_count(x)} inputs but {len(y)} labels.")
        step = size or max(1, len(y))
        for start in range(0, len(y), step):
            yield (
                to_device(as_read_by(model, sample_range(x, start, start + step)), device),
                y[start : start + step].to(device),
            )


def _named(layers: tuple[Layer, ...], gradients: Sequence[Tensor]) -> PerWeight:
    """The gradients by layer name, OIHW, on the CPU. Raises PruningError if one is not finite."""
    for layer, gradient in zip(layers, gradients, strict=True):
        if not gradient.isfinite().all():
            raise PruningError(
                f"The gradient of {layer.name} is not finite on the calibration images: "
                "check weights and data."
            )
    return {
        layer.name: oihw(gradient, layer).cpu()
        for layer, gradient in zip(layers, gradients, strict=True)
    }


class _PlainAttention(TorchFunctionMode):
    """In this thread, attention by plain products and softmax.

    The fused kernels have no second derivative.
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
