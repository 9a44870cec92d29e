"""What goes into a model and what comes out: a tensor, several in order, or several by name;
logits, alone or among others.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from pruning_core.types import Example, Inputs, PruningError


def arguments(x: Inputs) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """How a model is called with it: one argument, one after the other, or by name."""
    if isinstance(x, Mapping):
        return (), dict(x)
    return ((x,) if isinstance(x, Tensor) else tuple(x)), {}


def call(model: nn.Module, x: Inputs) -> Any:
    """Whatever the model gives for the batch."""
    args, kwargs = arguments(x)
    return model(*args, **kwargs)


def named_inputs(
    module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """What a module was called with, by the names in its forward pass; for hooks `with_kwargs`."""
    return signature(module.forward).bind(*args, **kwargs).arguments


def first_input(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The first argument of a call, given by place or by name."""
    return next(iter(named_inputs(module, args, kwargs).values()))


def logits(model: nn.Module, x: Inputs) -> Tensor:
    """The model's logits for the batch. Raises PruningError where it gives none (`answer`)."""
    return answer(call(model, x))


def found(out: Any) -> Tensor | None:
    """The logits among a model's outputs: the tensor itself, `logits` by attribute or key, or the
    first of a tuple, if any.
    """
    named = (
        out["logits"]
        if isinstance(out, Mapping) and "logits" in out
        else getattr(out, "logits", out)
    )
    first = named[0] if isinstance(named, tuple | list) and named else named
    return first if isinstance(first, Tensor) else None


def answer(out: Any) -> Tensor:
    """The logits among a model's outputs, as `found`. Raises PruningError where there are none."""
    if (logits := found(out)) is not None:
        return logits
    raise PruningError(
        f"The model gives a {type(out).__name__}: it must give logits, a tuple that starts with them, or .logits."
    )


def answering(model: nn.Module, outputs: Sequence[int] | None) -> nn.Module:
    """A copy whose answer is these of the model's logits, in this order; for None the model itself.

    So that a loss is over the classes that the data has and `accuracy.evaluate` reads, not over
    all that the model knows.
    """
    if outputs is None:
        return model
    work = deepcopy(model)
    chosen = list(outputs)
    work.register_forward_hook(lambda _module, _args, out: answer(out)[..., chosen])
    return work


def each(x: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    """The same batch with every tensor changed."""
    if isinstance(x, Tensor):
        return change(x)
    return (
        {name: change(t) for name, t in x.items()}
        if isinstance(x, Mapping)
        else tuple(change(t) for t in x)
    )


def tensors(x: Inputs) -> tuple[Tensor, ...]:
    """The batch's tensors. Raises PruningError for a batch of none."""
    args, kwargs = arguments(x)
    if not (args or kwargs):
        raise PruningError(
            "The batch holds no tensor: give the model's inputs, as input_ids and attention_mask."
        )
    return (*args, *kwargs.values())


def moved(x: Inputs, device: torch.device) -> Inputs:
    """The batch on the device, in its own layout: channels last was measured a third slower on the
    CPU for ResNet-18.
    """
    return each(x, lambda t: t.to(device))


def count(x: Inputs) -> int:
    """How many samples the batch has: the length of its tensors."""
    return len(tensors(x)[0])


def part(x: Inputs, start: int, stop: int) -> Inputs:
    """Some samples of the batch."""
    return each(x, lambda t: t[start:stop])


def example(given: Example, like: Tensor | None = None) -> Inputs:
    """One sample: the first of a batch, or zeros of a shape (C x H x W), of the type and on the
    device of `like`.
    """
    place = torch.zeros(()) if like is None else like
    if isinstance(given, tuple) and all(isinstance(length, int) for length in given):
        return torch.zeros(1, *given, dtype=place.dtype, device=place.device)
    contents: Inputs = given  # type: ignore[assignment]
    tensors(contents)
    return moved(part(contents, 0, 1), place.device)


def drawn(x: Tensor) -> Tensor:
    """Numbers in [0, 1), always the same, in the place of an input that is zero everywhere and
    would show nothing.
    """
    if not x.is_floating_point() or x.any():
        return x
    return torch.rand(x.shape, generator=torch.Generator().manual_seed(0)).to(x)
