"""A network whose norms average over the kept channels alone.

A layer norm, a group norm and an RMS norm average over channels, and a network without the removed
channels would average over fewer. Here channels with a scale of exactly zero are left out, so that
the masked network computes what the thinner one would: the scale of a removed channel is zero
(`dependent_masks`), and a scale that was zero before is made the smallest number above zero.
"""

import inspect
from collections.abc import Callable
from functools import cache, partial, wraps
from itertools import chain
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from pruning_core.model import kept_averages
from pruning_core.model.graph.calls import callable_modules, intercepted
from pruning_core.model.kept_averages import OVER_KEPT, KeptAverages
from pruning_core.model.model_io import call, copy_model, map_tensors, random_if_zero
from pruning_core.types import Inputs

ALL = "all"
KEPT = "kept"
NORMS = {
    ALL: "A norm over channels averages over removed channels too.",
    KEPT: "A norm over channels averages over kept channels only, as a thinner network does.",
}
"""Which channels norms average over, and what that means."""
SCRIPT = inspect.getsource(kept_averages).split('"""', 2)[2].strip()
"""The code of `kept_averages`, for exported scripts."""


class _Traceable(KeptAverages):
    """The mode, whose norms torch.fx traces as one operation each."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        traced = next((arg for arg in args if isinstance(arg, fx.Proxy)), None)
        if traced is None or func not in OVER_KEPT:
            return super().__torch_function__(func, types, args, kwargs)
        return traced.tracer.create_proxy("call_function", OVER_KEPT[func], args, kwargs or {})


class NormCalls(TorchFunctionMode):
    """A mode that passes every call of a norm over channels to `norm`."""

    def norm(self, scale: Any, call: Callable[[], Tensor]) -> Tensor:
        """Gives the result. scale: the norm's, None for none; call: computes it."""
        raise NotImplementedError

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call = partial(func, *args, **(kwargs or {}))
        if func not in OVER_KEPT:
            return call()
        given = inspect.signature(OVER_KEPT[func]).bind(*args, **(kwargs or {}))
        return self.norm(given.arguments.get("weight"), call)


class KeptNorm(nn.Module):
    """The base of modules whose own norms average over kept channels; the second base is theirs."""

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return _empty, (plain_class(self),), self.__dict__


@cache
def _kept_class(plain: Any) -> type[nn.Module]:
    @wraps(plain.forward)  # with its signature, which hooks and torch.fx read
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        with _Traceable():
            return plain.forward(self, *args, **kwargs)

    own = {"forward": forward, "__module__": plain.__module__, "__qualname__": plain.__qualname__}
    return type(plain.__name__, (KeptNorm, plain), own)


def _empty(plain: Any) -> nn.Module:
    made: nn.Module = object.__new__(_kept_class(plain))
    return made


def plain_class(module: nn.Module) -> Any:
    """The class that the module had before."""
    return type(module).__bases__[1] if isinstance(module, KeptNorm) else type(module)


def with_kept_norms(model: nn.Module, x: Inputs) -> nn.Module:
    """A copy of the model, with shared tensors, whose norms average over kept channels alone.

    These are the calls of torch's layer_norm, rms_norm and group_norm with a parameter as scale,
    which the model makes for `x`. While no scale is zero, it computes the model's own bits.
    """
    copy = copy_model(model, chain(model.parameters(), model.buffers()))
    modules = dict(copy.named_modules())
    for path, scale in _calls(copy, x):
        module = modules[path]
        module.__class__ = _kept_class(plain_class(module))
        zero = scale == 0
        if zero.any():
            changed = scale.masked_fill(zero, torch.finfo(scale.dtype).tiny)
            own = next(name for name, p in module.named_parameters() if p is scale)
            setattr(module, own, nn.Parameter(changed, requires_grad=scale.requires_grad))
    return copy


def with_plain_norms(model: nn.Module) -> nn.Module:
    """The model itself, with norms that average over all channels again."""
    for module in model.modules():
        module.__class__ = plain_class(module)
    return model


def kept_scales(model: nn.Module) -> frozenset[str]:
    """The names of the scales by which norms know removed channels."""
    return frozenset(
        f"{path}.{name}" if path else name
        for path, module in model.named_modules()
        if isinstance(module, KeptNorm)
        for name, _ in module.named_parameters(recurse=False)
    )


@torch.no_grad()
def _calls(model: nn.Module, x: Inputs) -> list[tuple[str, Tensor]]:
    """Path of the module and scale, for each call of a norm with a parameter of that module."""
    made: list[tuple[str, Tensor]] = []
    open_calls = [""]
    modules = dict(model.named_modules())

    class Watch(NormCalls):
        def norm(self, scale: Any, call: Callable[[], Tensor]) -> Tensor:
            own = modules[open_calls[-1]].parameters(recurse=False)
            if any(scale is parameter for parameter in own):
                made.append((open_calls[-1], scale))
            return call()

    def called(path: str, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        open_calls.append(path)
        try:
            return forward(*args, **kwargs)
        finally:
            open_calls.pop()

    with intercepted(callable_modules(model), called), Watch():
        call(model, map_tensors(x, random_if_zero))
    return made
