"""Which modules a model calls, in what order, and which tensors each operation reads and writes."""

import functools
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from pruning_core.model.graph.absent import written
from pruning_core.model.model_io import call, require_logits, storage, tensors_in
from pruning_core.model.operation_mode import OperationMode
from pruning_core.types import Inputs

ROOT = -1
"""Number of the call of the model itself."""
PLAIN = (type(None), bool, int, float, complex, str, torch.dtype, torch.device, torch.Size)
"""What a module's output may hold beside tensors, so that a call can be skipped."""
Called = Callable[[str, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
"""Receives a module's path, its forward method and the arguments, and gives its output."""


@dataclass(frozen=True)
class Call:
    """One call of a module.

    parent: number of the call that it is in; start, end: number of operations before it and at its
    end; after: number of the next call that is not inside it; leaves: storages of the tensors that
    it gives, None for other values.
    """

    path: str
    parent: int
    start: int
    end: int = 0
    after: int = 0
    leaves: tuple[int | None, ...] = ()


@dataclass(frozen=True)
class Operation:
    """One operation of torch. Storages by their address.

    scope: number of the innermost call that it is in; writes: of its results; changes: of arguments
    that it writes over; alone: it gives no tensor, so that Python may depend on it.
    """

    scope: int
    reads: frozenset[int]
    writes: frozenset[int]
    changes: frozenset[int]
    alone: bool


@dataclass(frozen=True)
class Recording:
    """The calls and operations of one forward pass, in order.

    inputs: storages of the batch's tensors; result: storage of the logits; opaque: paths of the
    modules with an output that is not kept, such as a parameter or an object that can change.
    """

    calls: tuple[Call, ...]
    operations: tuple[Operation, ...]
    inputs: tuple[int, ...]
    result: frozenset[int]
    opaque: frozenset[str]

    def ancestors(self, number: int) -> tuple[int, ...]:
        """The calls that a call is in, from the innermost to the model itself."""
        above = []
        while number != ROOT:
            number = self.calls[number].parent
            above.append(number)
        return tuple(above)

    def inside(self, number: int) -> frozenset[str]:
        """Paths of the modules that are called inside a call."""
        last = len(self.calls) if number == ROOT else self.calls[number].after
        return frozenset(each.path for each in self.calls[number + 1 : last])

    def without(self, paths: Collection[str]) -> "Recording":
        """The same pass, without the calls of some modules: their work belongs to the caller."""
        kept = [number for number, each in enumerate(self.calls) if each.path not in paths]
        place = {old: new for new, old in enumerate(kept)} | {ROOT: ROOT}

        def caller(number: int) -> int:
            while number not in place:
                number = self.calls[number].parent
            return place[number]

        calls = tuple(
            replace(
                self.calls[old],
                parent=caller(self.calls[old].parent),
                after=bisect_left(kept, self.calls[old].after),
            )
            for old in kept
        )
        operations = tuple(replace(each, scope=caller(each.scope)) for each in self.operations)
        return replace(self, calls=calls, operations=operations)


def storages(value: Any) -> frozenset[int]:
    """The storages of all tensors in a value."""
    return frozenset(map(storage, tensors_in(value)))


def callable_modules(root: nn.Module) -> dict[str, nn.Module]:
    """The modules inside the model whose calls can be seen, by path."""
    return {
        path: module
        for path, module in root.named_modules()
        if path and not isinstance(module, torch.jit.ScriptModule)
    }


@contextmanager
def intercepted(modules: Mapping[str, nn.Module], called: Called) -> Iterator[None]:
    """A context in which `called` is asked for the output of the modules.

    The modules' own hooks run as usual.
    """
    before = {path: vars(module).get("forward") for path, module in modules.items()}
    for path, module in modules.items():
        vars(module)["forward"] = _wrapper(path, module.forward, called)
    try:
        yield
    finally:
        for path, module in modules.items():
            if before[path] is None:
                del vars(module)["forward"]
            else:
                vars(module)["forward"] = before[path]


def _wrapper(path: str, forward: Callable[..., Any], called: Called) -> Callable[..., Any]:
    @functools.wraps(forward)
    def run(*args: Any, **kwargs: Any) -> Any:
        return called(path, forward, args, kwargs)

    return run


@dataclass(eq=False)
class _Recorder:
    """Collects what `record` gives. seen: keeps storages, so that no address is used twice."""

    own: frozenset[int]
    calls: list[Call] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    opaque: set[str] = field(default_factory=set)
    open: list[int] = field(default_factory=lambda: [ROOT])
    seen: list[Any] = field(default_factory=list)

    def called(
        self,
        path: str,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        number = len(self.calls)
        self.calls.append(Call(path, self.open[-1], len(self.operations)))
        self.open.append(number)
        out = forward(*args, **kwargs)
        self.open.pop()
        leaves = tree_leaves(out)
        kept = tuple(storage(leaf) if isinstance(leaf, Tensor) else None for leaf in leaves)
        if not self.own.isdisjoint(kept) or not all(map(_can_be_kept, leaves)):
            self.opaque.add(path)
        self.calls[number] = replace(
            self.calls[number], end=len(self.operations), after=len(self.calls), leaves=kept
        )
        return out

    def computed(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        changes = storages(written(func, args, kwargs))
        results = storages(out)
        self.seen.append((args, kwargs, out))
        self.operations.append(
            Operation(
                self.open[-1],
                storages((args, kwargs)),
                results | changes,
                changes,
                not results | changes,
            )
        )


def _can_be_kept(leaf: Any) -> bool:
    return isinstance(leaf, PLAIN) or (isinstance(leaf, Tensor) and not leaf.is_nested)


class _Operations(OperationMode):
    """Passes every operation to a recorder."""

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.recorder = recorder

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self.recorder.computed(func, args, kwargs or {}, out)
        return out


def record(
    root: nn.Module, x: Inputs, outputs: Callable[[Any], Tensor] = require_logits
) -> Recording:
    """Runs the model once and records its calls and operations. `x` may be written over.

    outputs: gives the tensor that is judged, of what the model gives.
    """
    recorder = _Recorder(storages((list(root.parameters()), list(root.buffers()))))
    with intercepted(callable_modules(root), recorder.called), _Operations(recorder):
        out = outputs(call(root, x))
    return Recording(
        tuple(recorder.calls),
        tuple(recorder.operations),
        tuple(map(storage, tensors_in(x))),
        storages(out),
        frozenset(recorder.opaque),
    )


def first_calls(root: nn.Module, x: Inputs) -> tuple[str, ...]:
    """Paths of the modules that the model calls, by their first call. `x` may be written over."""
    order: dict[str, None] = {}

    def called(
        path: str, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        order.setdefault(path)
        return forward(*args, **kwargs)

    with intercepted(callable_modules(root), called), torch.no_grad():
        call(root, x)
    return tuple(order)
