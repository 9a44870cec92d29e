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

from pruning_core.model.graph.calls import callable_modules, intercepted
from pruning_core.model.kept_averages import OVER_KEPT, KeptAverages, written_rms_norm
from pruning_core.model.model_io import call, copy_model, map_tensors, random_if_zero
from pruning_core.types import Inputs

ALL = "all"
KEPT = "kept"
NORMS = {
    ALL: "A norm over channels averages over removed channels too.",
    KEPT: "A norm over channels averages over kept channels only, as a thinner network does.",
}
"""Which channels norms average over, and what that means."""


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
    """The base of modules whose own norms average over kept channels; the second base is theirs.

    eps_name: the attribute with the eps of an RMS norm that the module's own code computes.
    """

    eps_name = ""

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return _empty, (plain_class(self), self.eps_name), self.__dict__


@cache
def _kept_class(plain: Any, eps_name: str = "") -> type[nn.Module]:
    @wraps(plain.forward)  # with its signature, which hooks and torch.fx read
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if eps_name:
            own = partial(plain.forward, self)
            return written_rms_norm(own, self, getattr(self, eps_name))(*args, **kwargs)
        with _Traceable():
            return plain.forward(self, *args, **kwargs)

    own = {"forward": forward, "__module__": plain.__module__, "__qualname__": plain.__qualname__}
    own |= {"eps_name": eps_name, "traced_whole": bool(eps_name)}
    return type(plain.__name__, (KeptNorm, plain), own)


def _empty(plain: Any, eps_name: str) -> nn.Module:
    made: nn.Module = object.__new__(_kept_class(plain, eps_name))
    return made


def plain_class(module: nn.Module) -> Any:
    """The class that the module had before."""
    return type(module).__bases__[1] if isinstance(module, KeptNorm) else type(module)


def with_kept_norms(model: nn.Module, x: Inputs) -> nn.Module:
    """A copy of the model, with shared tensors, whose norms average over kept channels alone.

    These are the calls of torch's layer_norm, rms_norm and group_norm with a parameter as scale,
    which the model makes for `x`, and modules that compute an RMS norm by themselves, as those of
    Llama. While no scale is zero, it computes the model's own bits.
    """
    copy = copy_model(model, chain(model.parameters(), model.buffers()))
    modules = dict(copy.named_modules())
    for path, scale, eps_name in _calls(copy, x):
        module = modules[path]
        module.__class__ = _kept_class(plain_class(module), eps_name)
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


def written_norms(model: nn.Module) -> dict[str, float]:
    """Paths of the modules that compute an RMS norm by themselves, with its eps."""
    return {
        path: getattr(module, module.eps_name)
        for path, module in model.named_modules()
        if isinstance(module, KeptNorm) and module.eps_name
    }


def kept_scales(model: nn.Module) -> frozenset[str]:
    """The names of the scales by which norms find removed channels."""
    return frozenset(
        f"{path}.{name}" if path else name
        for path, module in model.named_modules()
        if isinstance(module, KeptNorm)
        for name, _ in module.named_parameters(recurse=False)
    )


@torch.no_grad()
def _calls(model: nn.Module, x: Inputs) -> list[tuple[str, Tensor, str]]:
    """Path of the module, scale, and name of its eps, for each norm with a scale of that module.

    The name is "" where torch's own function computes the norm.
    """
    made: list[tuple[str, Tensor, str]] = []
    open_calls = [""]
    modules = dict(model.named_modules())
    shapes: dict[str, torch.Size] = {}

    class Watch(NormCalls):
        def norm(self, scale: Any, call: Callable[[], Tensor]) -> Tensor:
            own = modules[open_calls[-1]].parameters(recurse=False)
            if any(scale is parameter for parameter in own):
                made.append((open_calls[-1], scale, ""))
            return call()

    def called(path: str, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if args and isinstance(args[0], Tensor):
            shapes[path] = args[0].shape
        open_calls.append(path)
        try:
            return forward(*args, **kwargs)
        finally:
            open_calls.pop()

    with intercepted(callable_modules(model), called), Watch():
        call(model, map_tensors(x, random_if_zero))
    known = {path for path, _, _ in made}
    for path, shape in shapes.items():
        name = "" if path in known else _written_rms(modules[path], shape)
        if name:
            made.append((path, modules[path].get_parameter("weight"), name))
    return made


def _written_rms(module: nn.Module, shape: torch.Size) -> str:
    """The attribute with the eps of a module that is an RMS norm with a scale; "" for others.

    It is one if it gives that norm's values, for large and for small random inputs.
    """
    named = dict(module.named_parameters())
    scale = named.get("weight")
    if len(named) != 1 or scale is None or scale.shape != shape[-1:] or list(module.children()):
        return ""
    rng = torch.Generator().manual_seed(0)
    inputs = [size * torch.randn(shape, generator=rng).to(scale) for size in (1.0, 1e-3)]
    for name, eps in vars(module).items():
        if isinstance(eps, float) and 0 < eps < 0.01:
            norms = [x * (x.square().mean(-1, keepdim=True) + eps).rsqrt() * scale for x in inputs]
            try:
                results = [module(x) for x in inputs]
            except (RuntimeError, TypeError, ValueError):
                return ""
            pairs = zip(results, norms, strict=True)
            if all(isinstance(a, Tensor) and _alike(a, b) for a, b in pairs):
                return name
    return ""


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other.to(one), rtol=1e-4, atol=1e-6)
