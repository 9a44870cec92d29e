"""Networks that change their own buffers when they are called, such as a counter of calls.

Otherwise each call would start where the last one ended: a result would depend on which others
were computed before, and the base network would change.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class HeldBuffers:
    """A hook before and after each call: in eval mode, buffers have their stored values again.

    Training changes them as usual. The values after it are the stored ones from then on.
    """

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        self.names = tuple(values)
        self._values: dict[str, Tensor] | None = dict(values)

    def __call__(self, model: nn.Module, *_call: Any) -> None:
        if model.training:
            self._values = None
            return
        with torch.inference_mode(False):
            if self._values is None:
                self._values = {name: model.get_buffer(name).clone() for name in self.names}
            for name, value in self._values.items():
                path, _, own = name.rpartition(".")
                owner = model.get_submodule(path)
                owner._buffers[own] = value.to(model.get_buffer(name).device, copy=True)


def held_buffers(model: nn.Module) -> tuple[str, ...]:
    """The names of the buffers that are held."""
    hooks = model._forward_pre_hooks.values()
    return tuple(name for hook in hooks if isinstance(hook, HeldBuffers) for name in hook.names)


def hold_changed(model: nn.Module, before: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Holds the buffers that differ from those before a call, and gives their names."""
    now = dict(model.named_buffers())
    changed = {name: value for name, value in before.items() if not _equal(now[name], value)}
    if changed:
        hook = HeldBuffers(changed)
        hook(model)
        model.register_forward_pre_hook(hook)
        model.register_forward_hook(hook)
    return tuple(changed)


def _equal(one: Tensor, other: Tensor) -> bool:
    """Are two buffers equal? `torch.equal` has no kernel for sparse ones."""
    if one.layout == torch.strided:
        return torch.equal(one, other)
    one, other = (buffer.to_sparse().coalesce() for buffer in (one, other))
    return torch.equal(one.indices(), other.indices()) and torch.equal(one.values(), other.values())
