"""Counts of a thinned network from the numbers of removed channels alone: no mask, no network."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pruning_core.model.coupling.positions import ChannelPositions, Coupling
from pruning_core.model.model_io import tensor_bytes
from pruning_core.types import Layer

Axes = Mapping[int, Sequence[tuple[int, int]]]
"""Axis -> (number of the coupling, positions that each of its channels has along the axis)."""


@dataclass(frozen=True)
class Counts:
    """Of a network made narrower. bytes: of all parameters and buffers as stored."""

    parameters: int
    macs: int
    bytes: int


@dataclass(frozen=True)
class _Tensor:
    """One parameter or buffer that becomes smaller. macs: that read it; 0 for other tensors."""

    shape: tuple[int, ...]
    axes: Axes
    is_parameter: bool
    item_bytes: int
    macs: int

    def kept(self, removed: Sequence[int]) -> int:
        total = 1
        for axis, size in enumerate(self.shape):
            lost = sum(each * removed[own] for own, each in self.axes.get(axis, ()))
            total *= size - lost
        return total


class ChannelCounts:
    """Counts of the network without some channels of each coupling, as `thin` gives them.

    Exact where every channel of a coupling has as many positions as any other one in each tensor,
    and no position reads two couplings. Raises ValueError for other networks.
    """

    def __init__(
        self, model: nn.Module, layers: Sequence[Layer], couplings: Sequence[Coupling]
    ) -> None:
        if any(layer.aliases or layer.layout for layer in layers):
            raise ValueError("tied and transposed weights are not counted so")
        macs = {layer.name: layer.macs for layer in layers}
        parameters = dict(model.named_parameters())
        axes = _axes(couplings, {name: p.shape for name, p in parameters.items()})
        axes |= dict(_axes_of_buffers(model, axes))
        tensors = {**parameters, **dict(model.named_buffers())}
        self._changing = tuple(
            _Tensor(
                tuple(tensors[name].shape),
                axes[name],
                name in parameters,
                tensors[name].element_size(),
                macs.get(name, 0),
            )
            for name in axes
        )
        self.dense = Counts(
            sum(p.numel() for p in parameters.values()),
            sum(macs.values()),
            tensor_bytes(model),
        )

    def thinned(self, removed: Sequence[int]) -> Counts:
        """The counts without `removed` channels of each coupling, in the couplings' order."""
        parameters = self.dense.parameters
        macs = self.dense.macs
        stored = self.dense.bytes
        for tensor in self._changing:
            size = _product(tensor.shape)
            lost = size - tensor.kept(removed)
            parameters -= lost * tensor.is_parameter
            macs -= tensor.macs * lost // size
            stored -= lost * tensor.item_bytes
        return Counts(parameters, macs, stored)


def _product(shape: Sequence[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def _axes(couplings: Sequence[Coupling], shapes: Mapping[str, torch.Size]) -> dict[str, Axes]:
    """The axes of every parameter that holds channels. Raises ValueError as `ChannelCounts`."""
    axes: dict[str, dict[int, list[tuple[int, int]]]] = {}
    taken: dict[tuple[str, int], Tensor] = {}
    for number, coupling in enumerate(couplings):
        for place in (*coupling.members, *coupling.follows, *_whole(coupling.reads, shapes)):
            each = _positions_per_channel(place, coupling.channels)
            used = taken.setdefault(
                (place.parameter, place.axis),
                torch.zeros(shapes[place.parameter][place.axis], dtype=torch.bool),
            )
            if used[place.positions].any():
                raise ValueError(f"{place.parameter} reads one position from two couplings")
            used[place.positions] = True
            axes.setdefault(place.parameter, {}).setdefault(place.axis, []).append((number, each))
    return dict(axes)


def _whole(
    reads: Sequence[ChannelPositions], shapes: Mapping[str, torch.Size]
) -> Iterator[ChannelPositions]:
    """The reads, those of packed query, key and value rows as one where all rows read alike."""
    packed: dict[tuple[str, int], list[ChannelPositions]] = {}
    for place in reads:
        if place.rows is None:
            yield place
        else:
            packed.setdefault((place.parameter, place.axis), []).append(place)
    for (name, _), places in packed.items():
        first = places[0]
        rows = sorted(place.rows for place in places if place.rows is not None)
        ends = [0, *(end for _, end in rows)]
        alike = all(
            place.positions.equal(first.positions) and place.channels.equal(first.channels)
            for place in places
        )
        if not alike or [start for start, _ in rows] != ends[:-1] or ends[-1] != shapes[name][0]:
            raise ValueError(f"the rows of {name} read different channels")
        yield replace(first, rows=None)


def _positions_per_channel(place: ChannelPositions, channels: int) -> int:
    counts = place.channels.bincount(minlength=channels)
    if place.rows is not None or int(counts.min()) != int(counts.max()):
        raise ValueError(f"the channels of {place.parameter} are not all alike")
    if len(place.positions.unique()) != len(place.positions):
        raise ValueError(f"{place.parameter} holds one position twice")
    return int(counts[0])


def _axes_of_buffers(model: nn.Module, axes: Mapping[str, Axes]) -> Iterator[tuple[str, Axes]]:
    """Buffers that become smaller with a vector of their module, such as running means."""
    parameters = dict(model.named_parameters())
    for name, buffer in model.named_buffers():
        weight = f"{name.rpartition('.')[0]}.weight".lstrip(".")
        if weight in axes and buffer.ndim == 1 and parameters[weight].shape == buffer.shape:
            yield name, axes[weight]
