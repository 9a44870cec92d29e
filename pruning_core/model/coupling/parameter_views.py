"""Which parameter a tensor is a view of, and where its axes lie in it."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pruning_core.model.coupling.positions import Positions
from pruning_core.model.model_io import storage


class ParameterAxis(NamedTuple):
    """The positions that one axis of a tensor runs over, along one axis of a parameter."""

    parameter: str
    axis: int
    positions: Positions


class ParameterViews:
    """Finds the parameter of a tensor by its storage; the answers come from strides alone."""

    def __init__(self, named: Iterable[tuple[str, nn.Parameter]]) -> None:
        self.by_name = dict(named)
        self._by_storage: dict[int, list[str]] = {}
        for name, parameter in self.by_name.items():
            self._by_storage.setdefault(storage(parameter), []).append(name)

    def name(self, tensor: Tensor) -> str | None:
        """The parameter that the tensor is a view of."""
        start = tensor.storage_offset()
        for name in self._by_storage.get(storage(tensor), []):
            parameter = self.by_name[name]
            first = parameter.storage_offset()
            if _is_dense(parameter) and first <= start < first + parameter.numel():
                return name
        return None

    def axis(self, tensor: Tensor, dim: int) -> ParameterAxis | None:
        """Where the tensor's axis `dim` lies; None unless it runs along one axis of a parameter."""
        name = self.name(tensor)
        if name is None:
            return None
        parameter = self.by_name[name]
        offsets = torch.arange(tensor.shape[dim]) * tensor.stride(dim) + tensor.storage_offset()
        places = _coordinates(parameter, offsets)
        moving = [axis for axis, at in enumerate(places) if bool((at != at[0]).any())]
        if len(moving) != 1:
            return None
        return ParameterAxis(name, moving[0], places[moving[0]])

    def flat(self, tensor: Tensor) -> Tensor:
        """For each element of a parameter's view its index in the flattened parameter."""
        parameter = self.by_name[self.name(tensor) or ""]
        offsets = torch.full(tensor.shape, tensor.storage_offset())
        for dim, (size, step) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
            along = torch.arange(size) * step
            offsets = offsets + along.view(-1, *(1,) * (tensor.ndim - dim - 1))
        flat = torch.zeros_like(offsets)
        for size, place in zip(parameter.shape, _coordinates(parameter, offsets), strict=True):
            flat = flat * size + place
        return flat

    def matrix(self, tensor: Tensor) -> tuple[ParameterAxis, ParameterAxis] | None:
        """The axes of a weight that is read as inputs x outputs; None where it is not a plain one.

        Of an axis of length 1 strides say nothing: it is the parameter's first other axis,
        outputs before inputs, as nn.Linear stores them.
        """
        name = self.name(tensor)
        if name is None:
            return None
        axes = [self.axis(tensor, dim) for dim in range(2)]
        free = [
            axis
            for axis in range(self.by_name[name].ndim)
            if axis not in {a.axis for a in axes if a}
        ]
        here = _coordinates(self.by_name[name], torch.tensor([tensor.storage_offset()]))
        for dim in (1, 0):
            if axes[dim] is None:
                if tensor.shape[dim] != 1 or not free:
                    return None
                axis = free.pop(0)
                axes[dim] = ParameterAxis(name, axis, here[axis])
        inputs, outputs = axes
        if inputs is None or outputs is None or inputs.axis == outputs.axis:
            return None
        return inputs, outputs


def _is_dense(parameter: Tensor) -> bool:
    """Do its elements fill one stretch of the storage?"""
    pairs = zip(parameter.shape, parameter.stride(), strict=True)
    return parameter.numel() == 1 + sum((size - 1) * step for size, step in pairs)


def _coordinates(parameter: Tensor, offsets: Tensor) -> list[Tensor]:
    """For each axis of the parameter the position of the elements at these storage offsets."""
    rest = offsets - parameter.storage_offset()
    places = [torch.zeros_like(rest) for _ in parameter.shape]
    steps = parameter.stride()
    for axis in sorted(range(parameter.ndim), key=steps.__getitem__, reverse=True):
        if parameter.shape[axis] > 1:
            places[axis] = rest // steps[axis]
            rest = rest % steps[axis]
    return places
