"""A model's inputs (a tensor, several in order, or several by name) and its logits."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import fields, is_dataclass
from inspect import signature
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from pruning_core.tasks.model_output import find_logits as find_logits
from pruning_core.tasks.model_output import require_logits as require_logits
from pruning_core.types import Example, Inputs, PruningError

Model = TypeVar("Model", bound=nn.Module)


def arguments(x: Inputs) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """Positional and named arguments of the call that gives a batch to a model."""
    if isinstance(x, Mapping):
        return (), dict(x)
    return ((x,) if isinstance(x, Tensor) else tuple(x)), {}


def call(model: nn.Module, x: Inputs) -> Any:
    """The model's output for the batch, of any type. Inputs are cast to the model's own type."""
    args, kwargs = arguments(as_read_by(model, x))
    return model(*args, **kwargs)


def as_read_by(model: nn.Module, x: Inputs) -> Inputs:
    """The batch with its floating-point tensors in the type of the model's parameters.

    Images are float32; a network may compute in another type, such as float16.
    """
    read = next((p.dtype for p in model.parameters() if p.is_floating_point()), None)
    if read is None or all(t.dtype == read or not t.is_floating_point() for t in input_tensors(x)):
        return x
    return map_tensors(x, lambda t: t.to(read) if t.is_floating_point() else t)


def named_inputs(
    module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of a module's call by the parameter names of its forward method.

    For hooks registered `with_kwargs`.
    """
    return signature(module.forward).bind(*args, **kwargs).arguments


def first_input(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The first argument of a module's call, given by position or by name."""
    return next(iter(named_inputs(module, args, kwargs).values()))


def logits(model: nn.Module, x: Inputs) -> Tensor:
    """The model's logits for the batch.

    Raises PruningError where it gives none (`require_logits`).
    """
    return require_logits(call(model, x))


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """The `state_dict` without what modules keep beside tensors (`get_extra_state`)."""
    return {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}


def raw_bytes(tensor: Tensor) -> memoryview:
    """The tensor's numbers as they are in memory, of every type, also those that NumPy lacks."""
    whole = tensor.detach().cpu().contiguous().flatten()
    return whole.view(torch.uint8).numpy().data


def first_names(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Every name -> the first name of the same tensor."""
    seen: dict[tuple[object, ...], str] = {}
    first = {}
    for name, tensor in tensors.items():
        place = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        first[name] = seen.setdefault(place, name) if tensor.numel() else name
    return first


def tensor_bytes(model: nn.Module) -> int:
    """Bytes of all parameters and buffers that `tensors_of` gives, each tensor once."""
    tensors = tensors_of(model)
    return sum(tensors[name].nbytes for name in set(first_names(tensors).values()))


def copy_model(model: Model, shared: Iterable[Tensor] = ()) -> Model:
    """A deep copy of the model, which may hold computed tensors, such as kept activations.

    Python's deepcopy refuses tensors that autograd computed. They are copied as plain values here.
    shared: tensors that the copy shares with the model.
    """
    memo: dict[int, Any] = {id(tensor): tensor for tensor in shared}
    for module in model.modules():
        for tensor in _attributes(module):
            if not tensor.is_leaf and id(tensor) not in memo:
                memo[id(tensor)] = tensor.detach().clone()
    return leaf_copy(model, memo)


def leaf_copy(model: Model, memo: dict[int, Any]) -> Model:
    """`copy.deepcopy` of a model whose copied parameters can be trained.

    With gradients on, the copy of a TorchScript module would have computed tensors as parameters.
    A module has about ten empty tables of hooks, which take `deepcopy` longer than its weights.
    """
    for module in model.modules():
        for value in vars(module).values():
            if type(value) is OrderedDict and not value:
                memo[id(value)] = OrderedDict()
    with torch.no_grad():
        copied = deepcopy(model, memo)
    for own, parameter in zip(copied.parameters(), model.parameters(), strict=True):
        if own.requires_grad != parameter.requires_grad:
            own.requires_grad_(parameter.requires_grad)
    return copied


def channels_last(model: Model) -> Model:
    """The model itself, with all tensors of four axes in the layout with channels last.

    `nn.Module.to` would refuse the tensors of five axes of 3-d convolutions.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    return model


def _attributes(module: nn.Module) -> Iterator[Tensor]:
    """The tensors among the module's own attributes, also inside lists, tuples and dicts."""
    for name, value in vars(module).items():
        empty = value is None or (isinstance(value, dict) and not value)
        plain = empty or isinstance(value, int | float | str)  # most of what a module keeps
        if not plain and name not in ("_parameters", "_modules"):
            yield from tensors_in(value)


def with_selected_logits(model: nn.Module, outputs: Sequence[int] | None) -> nn.Module:
    """A copy of the model that gives only these logits, in this order; for None the model itself.

    With it, a loss is over the classes of the data, which `accuracy.evaluate` reads, and not over
    all classes of the model.
    """
    if outputs is None:
        return model
    work = copy_model(model)
    chosen = list(outputs)
    work.register_forward_hook(lambda _module, _args, out: require_logits(out)[..., chosen])
    return work


def map_tensors(x: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    """The same batch with `change` applied to every tensor."""
    if isinstance(x, Tensor):
        return change(x)
    return (
        {name: change(t) for name, t in x.items()}
        if isinstance(x, Mapping)
        else tuple(change(t) for t in x)
    )


def tensors_in(value: Any) -> list[Tensor]:
    """All tensors in nested lists, tuples and dicts, in order."""
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def output_tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in an output of any form."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from chain.from_iterable(map(output_tensors, value.values()))
    elif isinstance(value, list | tuple):
        yield from chain.from_iterable(map(output_tensors, value))
    elif is_dataclass(value) and not isinstance(value, type):
        yield from chain.from_iterable(
            output_tensors(getattr(value, f.name)) for f in fields(value)
        )


def storage(tensor: Tensor) -> int:
    """A number of the tensor's storage, which no other storage has at the same time."""
    address: int = tensor.untyped_storage()._cdata
    return address


def input_tensors(x: Inputs) -> tuple[Tensor, ...]:
    """The batch's tensors. Raises PruningError for a batch without tensors."""
    args, kwargs = arguments(x)
    if not (args or kwargs):
        raise PruningError(
            "The batch holds no tensor: give the model's inputs, as input_ids and attention_mask."
        )
    return (*args, *kwargs.values())


def to_device(x: Inputs, device: torch.device) -> Inputs:
    """The batch on the device, in its own memory layout.

    Channels last was measured a third slower on the CPU for ResNet-18.
    """
    return map_tensors(x, lambda t: t.to(device))


def sample_count(x: Inputs) -> int:
    """Number of samples in the batch: the length of its tensors."""
    return len(input_tensors(x)[0])


def sample_range(x: Inputs, start: int, stop: int) -> Inputs:
    """The samples start to stop - 1 of the batch."""
    return map_tensors(x, lambda t: t[start:stop])


def sample_shapes(x: Inputs) -> tuple[tuple[int, ...], ...]:
    """Shapes of one sample's tensors."""
    return tuple(tuple(part.shape[1:]) for part in input_tensors(x))


def joined_batches(parts: Sequence[Inputs]) -> Inputs:
    """Batches one after the other. Their tensors have equal shapes besides the first axis."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat([part for part in parts if isinstance(part, Tensor)])
    if isinstance(first, Mapping):
        return {
            name: torch.cat([part[name] for part in parts if isinstance(part, Mapping)])
            for name in first
        }
    columns = zip(*(part for part in parts if isinstance(part, tuple)), strict=True)
    return tuple(torch.cat(column) for column in columns)


def first_sample(given: Example, like: Tensor | None = None) -> Inputs:
    """One sample: the first of a batch, or zeros of a shape (C x H x W).

    Zeros have the type and the device of `like`.
    """
    place = torch.zeros(()) if like is None else like
    if isinstance(given, tuple) and all(isinstance(length, int) for length in given):
        return torch.zeros(1, *given, dtype=place.dtype, device=place.device)
    contents: Inputs = given  # type: ignore[assignment]
    input_tensors(contents)
    return to_device(sample_range(contents, 0, 1), place.device)


def random_if_zero(x: Tensor) -> Tensor:
    """The tensor, or random numbers in [0, 1) if it holds only zeros of a floating-point type.

    An input of zeros would not show what a network does. The numbers are always the same.
    """
    if not x.is_floating_point() or x.any():
        return x
    return torch.rand(x.shape, generator=torch.Generator().manual_seed(0)).to(x)
