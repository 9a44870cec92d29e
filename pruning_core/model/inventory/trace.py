"""Runs one input and notes for every weight its reads, its batch norm, and where its outputs go."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pruning_core.errors import first_line
from pruning_core.model.inventory.reads import PlainKernels, Read, WeightReads
from pruning_core.model.inventory.routers import Routes
from pruning_core.model.inventory.views import named_parameters
from pruning_core.model.model_io import (
    arguments,
    call,
    copy_model,
    find_logits,
    first_input,
    first_sample,
    input_tensors,
    map_tensors,
    random_if_zero,
)
from pruning_core.types import Example, Inputs, Layer, PruningError

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
FAILURES = (RuntimeError, ValueError, AssertionError, TypeError, IndexError)
"""What a model raises for an input that does not fit."""
KEPT_INSIDE = (
    "hidden_states",
    "attentions",
    "past_key_values",
    "encoder_last_hidden_state",
    "mems",
)
"""Fields of a Hugging Face output that hold inner values, not answers."""


@dataclass(eq=False)
class Use:
    """What one run showed of a weight.

    macs: multiply-adds per sample. outside: it was read outside of a call of its module.
    axes: one per read of the parameter's own axes, see `parameter_axes`. groups: of the convolution
    that read it. bn: path of the batch norm that follows.
    """

    macs: int = 0
    outside: bool = False
    axes: set[str] = field(default_factory=set)
    groups: int = 1
    bn: str | None = None


@dataclass(eq=False)
class Trace:
    """What one run showed.

    uses: of every weight that was read, in order of the first read. outputs: the weights whose
    outputs are outputs of the model. unknown: weights used in a way that is not followed. routes:
    which weights choose among others.
    """

    uses: dict[str, Use]
    outputs: frozenset[str]
    unknown: frozenset[str]
    routes: Routes


def trace(
    model: nn.Module,
    layers: Sequence[Layer],
    owners: Mapping[str, Sequence[str]],
    shape: Example,
    *,
    training: bool = False,
) -> Trace:
    """Runs one sample through a copy of the modules that shares the model's parameters.

    owners: names of the layers' weights -> paths of the modules that own them. training: run in
    training mode, with dropout and norms in evaluation mode, on copies of the buffers. Raises
    PruningError where the model does not accept the input.
    """
    work = copy_model(model, model.parameters())
    work = _in_training(work) if training else work.eval()
    weights = _weights(work, layers)
    x = map_tensors(sample(model, shape), random_if_zero)  # as couplings read it: branches agree
    run = _Run(work, weights, owners)
    reads = WeightReads(weights, frozenset(owners), input_tensors(x), run.note)
    try:
        with torch.no_grad(), torch.random.fork_rng([]), PlainKernels(), reads:
            result = call(work, x)
    except FAILURES as error:
        reason = first_line(error).rstrip(".")
        raise PruningError(
            f"The model does not accept an input of shape {_shapes(x)}: {reason}."
        ) from error
    rows = {layer.name: layer.shape[0] for layer in layers}
    outputs = _outputs(result, reads, rows)
    return Trace(run.finished(), outputs, frozenset(reads.unknown), reads.routes)


def sample(model: nn.Module, shape: Example) -> Inputs:
    """One sample. Zeros have the type and the device of the model's first real parameter."""
    parameters = list(model.parameters())
    return first_sample(shape, next(filter(torch.is_floating_point, parameters), parameters[0]))


class _Run:
    """Notes reads and batch norms by hooks on a copy of the modules."""

    def __init__(
        self, work: nn.Module, weights: Mapping[str, Tensor], owners: Mapping[str, Sequence[str]]
    ) -> None:
        self._weights = weights
        self._uses: dict[str, Use] = {}
        self._active: list[nn.Module] = []
        self._norms: list[tuple[Tensor, str]] = []  # holding the tensors keeps their ids unique
        self._results: list[tuple[str, Tensor]] = []
        modules = {path: work.get_submodule(path) for paths in owners.values() for path in paths}
        self._owners = {name: [modules[path] for path in paths] for name, paths in owners.items()}
        by_module: dict[nn.Module, list[str]] = {}
        for name, own in self._owners.items():
            for module in own:
                by_module.setdefault(module, []).append(name)
        for module, names in by_module.items():
            module.register_forward_pre_hook(self._begin)
            module.register_forward_hook(self._end(names))
        for path, module in work.named_modules():
            if isinstance(module, BATCH_NORMS) and module.affine:
                module.register_forward_pre_hook(self._fed(path), with_kwargs=True)

    def note(self, read: Read) -> None:
        """Notes one read."""
        use = self._uses.setdefault(read.parameter, Use())
        if not read.product.axes:  # a lookup in an embedding
            return
        use.macs += read.macs
        owners = self._owners.get(read.parameter, ())
        if not any(active is own for active in self._active for own in owners):
            use.outside = True
            self._results.append((read.parameter, read.output))
        if not owners:
            shape = tuple(self._weights[read.parameter].shape)
            use.axes.add(parameter_axes(shape, read))
            use.groups = read.product.groups

    def finished(self) -> dict[str, Use]:
        """What was noted, with the batch norms that follow."""
        for name, result in self._results:
            bn = next((path for fed, path in self._norms if fed is result), None)
            if bn is not None and name in self._uses and self._uses[name].bn is None:
                self._uses[name].bn = bn
        return self._uses

    def _begin(self, module: nn.Module, _args: Any) -> None:
        self._active.append(module)

    def _end(self, names: Sequence[str]) -> Callable[..., None]:
        def note(_module: nn.Module, _args: Any, out: Any) -> None:
            self._active.pop()
            first = out[0] if isinstance(out, tuple) else out
            self._results += [(name, first) for name in names]

        return note

    def _fed(self, path: str) -> Callable[..., None]:
        def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._norms.append((first_input(module, args, kwargs), path))

        return note


def parameter_axes(shape: tuple[int, ...], read: Read) -> str:
    """What each axis of a parameter is in a product: one letter per axis, as `Product.axes`.

    An axis that does not vary in the product's weight is b: one matrix of several was read. ""
    where an axis of the parameter lies along several axes of the product's weight, or where only
    some of its elements are the parameter's.
    """
    along = _along_of_view(shape, read)
    if along is None:
        numbers, own = read.places()
        if not own.all():
            return ""
        along = [
            [axis for axis in range(place.ndim) if _varies(place, axis)]
            for place in _coordinates(shape, numbers)
        ]
    letters = ""
    for size, axes in zip(shape, along, strict=True):
        kinds = {read.product.axes[axis] for axis in axes}
        if len(kinds) > 1:
            return ""
        letters += kinds.pop() if kinds else "b" if size > 1 else "1"
    return letters


def _along_of_view(shape: tuple[int, ...], read: Read) -> list[list[int]] | None:
    """For each axis of the parameter the axes of the product's weight that it lies along.

    Read from one line of elements per axis, since a weight may be too large for numbers of all its
    elements. None where the weight is no view of the parameter, or the lines do not show it.
    """
    view = read.product.weight
    if read.first is None:
        return None
    steps = view.stride()
    lines = [
        _coordinates(shape, read.first + torch.arange(size) * step)
        for size, step in zip(view.shape, steps, strict=True)
    ]
    for axis, size in enumerate(shape):  # without a carry, an element's place is the lines' sum
        first = int(_coordinates(shape, torch.tensor(read.first))[axis])
        moves = [line[axis] - first for line in lines]
        if any(m.min() < 0 for m in moves) or first + sum(int(m.max()) for m in moves) >= size:
            return None
    return [
        [index for index, line in enumerate(lines) if _varies(line[axis], 0)]
        for axis in range(len(shape))
    ]


def _coordinates(shape: tuple[int, ...], numbers: Tensor) -> list[Tensor]:
    """For each axis of a contiguous tensor the positions of the elements with these numbers."""
    places: list[Tensor] = []
    for size in reversed(shape):
        places.insert(0, numbers % size)
        numbers = numbers // size
    return places


def _varies(place: Tensor, axis: int) -> bool:
    return bool((place != place.select(axis, 0).unsqueeze(axis)).any())


def _weights(work: nn.Module, layers: Sequence[Layer]) -> dict[str, Tensor]:
    """All matrices and kernels, named as by `named_parameters`."""
    every = named_parameters(work, layers)
    return {name: own for name, own in every.items() if own.ndim > 1 and own.numel()}


def _in_training(work: nn.Module) -> nn.Module:
    """The copy in training mode, but without batch statistics and dropout."""
    work.train()
    for module in work.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.modules.dropout._DropoutNd):
            module.eval()
    return work


def _outputs(result: Any, reads: WeightReads, rows: Mapping[str, int]) -> frozenset[str]:
    """The weights whose outputs the model gives. One number of many, such as a loss, is none.

    rows: the number of outputs of each layer.
    """
    names = set[str]()
    for tensor in answers(result):
        flows = reads.flows([tensor])
        names |= {name for name in flows if tensor.numel() > 1 or rows.get(name) == 1}
    return frozenset(names)


def answers(out: Any) -> list[Tensor]:
    """All tensors that a model gives: in tuples, lists, dicts and dataclasses.

    Of outputs with named fields, those that hold inner values (`KEPT_INSIDE`) are left out, unless
    nothing else is there.
    """
    if isinstance(out, Tensor):
        return [out]
    if isinstance(out, Mapping):
        named = {str(name): value for name, value in out.items()}
    elif is_dataclass(out):
        named = {each.name: getattr(out, each.name) for each in fields(out)}
    elif hasattr(out, "_asdict"):
        named = out._asdict()
    elif isinstance(out, tuple | list):
        return [tensor for value in out for tensor in answers(value)]
    else:
        logits = find_logits(out)
        return [] if logits is None else [logits]
    own = [t for name, value in named.items() if not _inside(name) for t in answers(value)]
    return own or [t for value in named.values() for t in answers(value)]


def _inside(name: str) -> bool:
    return any(name.endswith(ending) for ending in KEPT_INSIDE)


def _shapes(x: Inputs) -> str:
    """The shapes of one sample."""
    args, kwargs = arguments(x)
    named = [*(("", t) for t in args), *((f"{name} ", t) for name, t in kwargs.items())]
    return ", ".join(f"{name}{tuple(t.shape[1:])}" for name, t in named)
