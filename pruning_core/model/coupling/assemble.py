"""Makes couplings of what the first run noted: members, what follows them and what reads them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pruning_core.model.coupling.budget import Budget
from pruning_core.model.coupling.first_run import ChannelRead, FirstRun, varies
from pruning_core.model.coupling.parameter_views import ParameterAxis
from pruning_core.model.coupling.positions import IS_OUTPUT, ChannelPositions, Coupling
from pruning_core.types import Layer

AVERAGED = (
    "A norm averages over its channels, removed ones too. A network without them would average "
    "over fewer, so its outputs differ a little from the masked network's."
)
TOGETHER = (
    "The network computes a value from all these channels together, such as their length, with "
    "zeros for removed ones. Without them it can differ, as where the code divides by their number."
)
ONE_CLASS = "All its channels are tied to each other, so that none can be removed alone."


@dataclass(frozen=True, eq=False)
class Roots:
    """For each number of a channel the smallest number that is tied to it; 0 if it has no layer."""

    of: Tensor

    def __call__(self, numbers: Tensor) -> Tensor:
        return self.of[numbers.long()]


def roots(run: FirstRun, layers: Sequence[Layer]) -> Roots:
    """The roots of all numbers. Layers' rows have the smallest numbers, so they are the roots."""
    rows = sum(layer.shape[0] for layer in layers)
    every = [run.channels.root(number) for number in range(len(run.channels))]
    return Roots(torch.tensor([root if root <= rows else 0 for root in every]))


def assembled(
    run: FirstRun, layers: Sequence[Layer], root: Roots, budget: Budget
) -> tuple[Coupling, ...]:
    """The couplings in the network's order, each with the first reason of its channels."""
    labels = {
        layer.name: root(run.starts[layer.name] + torch.arange(layer.shape[0])) for layer in layers
    }
    reasons = _by_root(run, root)
    notes = {int(root.of[number]): TOGETHER for number in run.channels.together}
    notes |= {int(root.of[number]): AVERAGED for number in run.channels.averaged}
    components = _components(labels)
    orders = [torch.cat([labels[name] for name in names]).unique() for names in components]
    follows = _by_coupling(_follows(run, root), orders)
    reads = _by_coupling(_reads(run, root, budget), orders)
    made = []
    for index, (names, order) in enumerate(zip(components, orders, strict=True)):
        own = [reasons[n] for n in order.tolist() if n in reasons]
        alone = len(order) == 1 and max(len(labels[name]) for name in names) > 1
        own += [ONE_CLASS] if alone else []
        reason = IS_OUTPUT if IS_OUTPUT in own else next(iter(own), None)
        made.append(
            Coupling(
                members=tuple(_members(name, labels[name], order) for name in names),
                follows=tuple(follows[index]),
                reads=tuple(reads[index]),
                channels=len(order),
                reason=reason,
                note=_note(notes.get(n) for n in order.tolist()),
            )
        )
    return tuple(made)


def _note(given: Iterable[str | None]) -> str | None:
    """The note of a coupling whose channels have these notes."""
    own = set(given)
    return next((note for note in (AVERAGED, TOGETHER) if note in own), None)


def _members(name: str, labels: Tensor, order: Tensor) -> ChannelPositions:
    return ChannelPositions(name, 0, torch.arange(len(labels)), torch.searchsorted(order, labels))


def _by_root(run: FirstRun, root: Roots) -> dict[int, str]:
    """The first reason of each class of channels; that of outputs comes before all others."""
    first: dict[int, str] = {}
    for number, reason in run.channels.reasons.items():
        own = int(root.of[number])
        if reason == IS_OUTPUT:
            first[own] = reason
        first.setdefault(own, reason)
    return first


Noted = tuple[ParameterAxis, Tensor, tuple[int, int] | None]
"""Positions along a parameter's axis, the root at each (0: none), and rows as in `ChannelRead`."""


def _follows(run: FirstRun, root: Roots) -> list[Noted]:
    """Each parameter axis once. A position that belongs to several channels follows none."""
    at: dict[tuple[str, int], dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for axis, numbers in run.follows:
        places = at[axis.parameter, axis.axis]
        for position, own in zip(axis.positions.tolist(), root(numbers).tolist(), strict=True):
            places[position].add(own)
    for name, start in run.bare.items():
        _bare(run, root, name, start, at)
    noted: list[Noted] = []
    for (name, dim), places in at.items():
        single = {position: min(own) for position, own in places.items() if len(own) == 1}
        if single and (name not in run.starts or (name, dim) in run.tables):
            positions = torch.tensor(sorted(single))
            channels = torch.tensor([single[position] for position in sorted(single)])
            noted.append((ParameterAxis(name, dim, positions), channels, None))
    return noted


def _bare(
    run: FirstRun, root: Roots, name: str, start: int, at: dict[tuple[str, int], Any]
) -> None:
    """Adds the axis of a bare parameter along which its elements belong to channels."""
    shape = run.views.by_name[name].shape
    numbers = root(start + torch.arange(shape.numel())).view(shape)
    moving = [dim for dim in range(len(shape)) if varies(numbers, dim)]
    if len(moving) == 1:
        first = numbers.movedim(moving[0], 0).reshape(shape[moving[0]], -1)[:, 0]
        for position, own in enumerate(first.tolist()):
            at[name, moving[0]][position].add(own)


def _reads(run: FirstRun, root: Roots, budget: Budget) -> list[Noted]:
    """Every different read, without the positions that also read something that has no channel."""
    by_axis: dict[tuple[str, int], dict[tuple[object, ...], tuple[ChannelRead, Tensor]]]
    by_axis = defaultdict(dict)
    for read in run.reads:
        budget.step()
        channels = root(read.channels)
        same = (read.rows, *read.axis.positions.tolist(), *channels.tolist())
        by_axis[read.axis.parameter, read.axis.axis].setdefault(same, (read, channels))
    noted: dict[tuple[object, ...], Noted] = {}
    for (name, dim), reads in by_axis.items():
        for read, channels in reads.values():
            budget.step()
            free = channels.clone()
            for other, theirs in reads.values():
                if read.overlaps(other):
                    blank = other.axis.positions[theirs == 0]
                    free[torch.isin(read.axis.positions, blank)] = 0
            key = (name, dim, read.rows, *read.axis.positions.tolist(), *free.tolist())
            noted.setdefault(key, (read.axis, free, read.rows))
    return list(noted.values())


def _by_coupling(
    noted: Iterable[Noted], orders: Sequence[Tensor]
) -> dict[int, list[ChannelPositions]]:
    """By the index of a coupling, whose channels have the roots in `orders`: what belongs to it."""
    size = 1 + max(int(order.max()) for order in orders)
    coupling = torch.full((size,), -1)
    channel = torch.zeros(size, dtype=torch.long)
    for index, order in enumerate(orders):
        coupling[order] = index
        channel[order] = torch.arange(len(order))
    made: dict[int, list[ChannelPositions]] = defaultdict(list)
    for axis, channels, rows in noted:
        for index in coupling[channels].unique().tolist():
            own = (coupling[channels] == index) & (channels != 0)
            if index >= 0 and own.any():
                at = (axis.positions[own], channel[channels[own]])
                made[index].append(ChannelPositions(axis.parameter, axis.axis, *at, rows))
    return made


def _components(labels: Mapping[str, Tensor]) -> list[list[str]]:
    """The layers by connected component: those that share a root, directly or through others."""
    components: list[tuple[set[int], list[str]]] = []
    for name, own in labels.items():
        shared = set(own.tolist())
        names = [name]
        for component in [known for known in components if known[0] & shared]:
            components.remove(component)
            shared = component[0] | shared
            names = component[1] + names
        components.append((shared, names))
    order = list(labels)
    return sorted(
        (sorted(names, key=order.index) for _, names in components),
        key=lambda names: order.index(names[0]),
    )
