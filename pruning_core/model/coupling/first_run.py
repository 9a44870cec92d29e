"""What the first run of a network notes: channels of all tensors, reads, and steps to repeat."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import torch
from torch import Tensor

from pruning_core.model.coupling.channels import Channels
from pruning_core.model.coupling.label_memory import LabelMemory, Labels
from pruning_core.model.coupling.parameter_views import ParameterAxis, ParameterViews
from pruning_core.model.inventory import output_axis
from pruning_core.types import Layer

ACTS_ON_SEVERAL = "Its outputs act on several channels at once, so that removing one changes them."
ACROSS = "They are read along another axis, so that no single channel can be removed."
SHARED = (
    "The weights that read them also read other values, which are not removed with them, "
    "so that a network without them cannot read both."
)
LARGEST = 2**22
"""Elements of a bare parameter, such as a class token, that are followed one by one."""
SEVERAL = 64
"""Different channels that a parameter's element is noted with."""
COMPUTED_WEIGHT = (
    "A layer that reads them computes its weight from all its inputs, "
    "so that removing one changes the others."
)


@dataclass(frozen=True, eq=False)
class ChannelRead:
    """A weight's axis and the channels that it takes as inputs. rows: as in `ChannelPositions`."""

    axis: ParameterAxis
    channels: Tensor
    rows: tuple[int, int] | None = None

    def overlaps(self, other: "ChannelRead") -> bool:
        """Have both rows in common?"""
        one = self.rows
        two = other.rows
        return one is None or two is None or (one[0] < two[1] and two[0] < one[1])


@dataclass(frozen=True, eq=False)
class WeightStep:
    """An operation that multiplies by a weight.

    x, weight: indices of the operands; bias: of a vector that is added, or None.
    x_dim, read: the axis of the inputs, and their channels. out_dim, made: the same of the result.
    weight_dims: the axes of the weight operand along inputs and outputs.
    computed: the weight is computed from a parameter. dense: the result. zeros: the inputs are
    zeros that the network made, so that removed channels may be read too.
    """

    x: int
    weight: int
    x_dim: int
    out_dim: int
    weight_dims: tuple[int, int]
    read: Tensor
    made: Tensor
    computed: bool
    dense: Tensor
    bias: int | None = None
    zeros: bool = False


@dataclass(frozen=True, eq=False)
class StatisticStep:
    """An operation that mixes channels into one value. Its results are repeated as they are.

    sources: the channels of each value.
    """

    sources: tuple[tuple[int, ...], ...]
    results: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class NormStep:
    """A norm that averages over channels: a repeated run uses these means and scales."""

    kind: str
    mean: Tensor | None
    scale: Tensor


NotedStep = WeightStep | StatisticStep | NormStep


@dataclass(eq=False)
class FirstRun:
    """The state of the first run.

    starts: the first channel of each layer's rows; made: of any parameter's axis; tables: axes
    of embeddings' channels; bare: the first of the numbers that a parameter's elements have.
    used: layers whose weight was multiplied by; computed: where a function of the weight was.
    follows: parameter axes and the channels that are zeroed with them; repeated: the axes of which
    one element belongs to several channels at once, as of H x W. steps: what a repeated run
    takes from the first, by the number of the operation; names: of these operations. over_kept: the
    operation is part of a norm that averages over kept channels only.
    """

    views: ParameterViews
    layers: Sequence[Layer]
    channels: Channels = field(default_factory=Channels)
    memory: LabelMemory = field(default_factory=LabelMemory)
    starts: dict[str, int] = field(default_factory=dict)
    made: dict[tuple[str, int], int] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    computed: set[str] = field(default_factory=set)
    reads: list[ChannelRead] = field(default_factory=list)
    follows: list[tuple[ParameterAxis, Tensor]] = field(default_factory=list)
    repeated: set[tuple[str, int]] = field(default_factory=set)
    tables: set[tuple[str, int]] = field(default_factory=set)
    bare: dict[str, int] = field(default_factory=dict)
    steps: dict[int, NotedStep] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    over_kept: bool = False
    index: int = 0

    def __post_init__(self) -> None:
        for layer in self.layers:
            self.starts[layer.name] = first = self.channels.new(layer.shape[0])
            axis = output_axis(layer)
            if axis is not None:
                self.made[layer.name, axis] = first

    def rows(self, axis: ParameterAxis) -> Tensor:
        """The channels that a weight computes along its output axis."""
        key = axis.parameter, axis.axis
        if key not in self.made:
            size = self.views.by_name[axis.parameter].shape[axis.axis]
            has_rows = any(name == axis.parameter for name, _ in self.made)
            self.made[key] = first = self.channels.new(size)
            why = (
                f"{axis.parameter} is also read with inputs and outputs exchanged, and computes "
                "these channels so, where none can be removed."
                if axis.parameter in self.starts and has_rows
                else f"{axis.parameter} computes these channels too, and its outputs cannot be "
                "removed."
            )
            self.channels.refuse(range(first, first + size), why)
        if self.made[key] == self.starts.get(axis.parameter):
            self.used.add(axis.parameter)
        return (self.made[key] + axis.positions).int()

    def columns(self, axis: ParameterAxis) -> Tensor:
        """The channels along an axis of a table, such as an embedding's: zeroed, never members."""
        key = axis.parameter, axis.axis
        if key not in self.made:
            self.made[key] = self.channels.new(self.views.by_name[axis.parameter].shape[axis.axis])
        numbers = (self.made[key] + axis.positions).int()
        self.tables.add(key)
        self.follows.append((axis, numbers))
        return numbers

    def elements(self, tensor: Tensor) -> Labels | None:
        """A number for each element of a bare parameter; None for a weight or another tensor."""
        name = self.views.name(tensor)
        if name is None or name in self.starts or tensor.numel() > LARGEST:
            return None
        if name not in self.bare:
            self.bare[name] = self.channels.new(self.views.by_name[name].numel())
        return (self.bare[name] + self.views.flat(tensor)).int()

    def one_per_position(self, labels: Labels, what: str) -> Tensor:
        """One channel for each row of P x M labels; several in one row are tied.

        Where rows share channels, or all are in one row, the M elements run over channels: then
        `what` is the reason why these cannot be removed, and 0 is given.
        """
        if bool((labels == labels[:, :1]).all()):
            return labels[:, 0].clone()
        rows = [[n for n in set(row) if n] for row in distinct_columns(labels).tolist()]
        several = [row for row in rows if len(row) > 1]
        every = [n for row in rows for n in row]
        if several and (len(rows) == 1 or len(set(every)) < len(every)):
            self.channels.refuse(every, what)
            return torch.zeros(len(rows), dtype=torch.int32)
        for row in several:
            self.channels.tie((row[0], other) for other in row[1:])
        return torch.tensor([row[0] if row else 0 for row in rows], dtype=torch.int32)

    def combined(self, first: "Operand", second: "Operand") -> Labels:
        """The labels of an elementwise result of two labelled operands, in the result's shape."""
        a, b = torch.broadcast_tensors(first.labels, second.labels)
        a_acts = any(varies(b, dim) for dim in first.repeated(b.shape))
        b_acts = any(varies(a, dim) for dim in second.repeated(a.shape))
        both = (a != 0) & (b != 0)
        if a_acts or b_acts:
            for acts, own in ((a_acts, a), (b_acts, b)):
                if acts:
                    self._acts_on_several(own[both].unique().tolist())
            return torch.where(b != 0, b, a) if a_acts else torch.where(a != 0, a, b)
        self.tie_elements(a, b)
        return torch.where(a != 0, a, b)

    def _acts_on_several(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            if self.channels.is_statistic(number):
                self.average([number], mean=number in self.channels.means)
            else:
                self.channels.refuse([number], ACTS_ON_SEVERAL)

    def average(self, numbers: Iterable[int], *, mean: bool = True) -> None:
        """Notes channels that a norm averages over, or that another value is computed from."""
        noted = self.channels.averaged if mean else self.channels.together
        if not self.over_kept:
            noted.update(self.channels.sources(numbers))

    def tie_elements(self, a: Labels, b: Labels) -> None:
        """Ties the channels that meet in an element of two tensors of one shape."""
        if torch.equal(a, b):
            return
        a, b = core(a, b)
        pairs = torch.stack([a.reshape(-1), b.reshape(-1)], 1)
        pairs = self._roots(pairs[(pairs != 0).all(1)])
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        self.channels.tie((one, other) for one, other in pairs.unique(dim=0).tolist())

    def _roots(self, numbers: Tensor) -> Tensor:
        """The root of every number."""
        own, places = numbers.unique(return_inverse=True)
        return torch.tensor([self.channels.root(n) for n in own.tolist()]).int()[places]

    def follow(self, parameter: Tensor, labels: Labels) -> None:
        """Notes which channels a parameter's elements belong to, in an elementwise operation.

        An element that is repeated over several channels, as those of H x W are, belongs to none
        (`assemble` sees that they have several).
        """
        repeated = _repeated(parameter, labels.shape)
        rows = labels.movedim(repeated, list(range(len(repeated)))).flatten(0, len(repeated) - 1)
        rows = rows if repeated else labels[None]
        (rows,) = core(rows, dims=[0])
        long = [dim for dim, size in enumerate(parameter.shape) if size > 1] or [0]
        axis = self._axis(parameter, long[0]) if len(long) == 1 and labels.ndim else None
        if axis is not None:
            distinct = rows.reshape(len(rows), -1).unique(dim=0)
            self.follows += [(axis, row) for row in distinct[:SEVERAL]]
            if len(distinct) > 1 or parameter.numel() == 1:
                self.repeated.add((axis.parameter, axis.axis))
        elif len(rows) == 1 and len(long) > 1:
            numbers = self.elements(parameter)
            if numbers is not None:
                own = rows.reshape(numbers.shape)
                self.tie_elements(torch.where(own != 0, numbers, 0), own)

    def tie_shared(self) -> None:
        """Ties the channels that share a position of a parameter, as of a module that is called
        twice: a network without one of them has no such position.
        """
        used = {key for key in self.made if key in self.tables or key[0] in self.used}
        shared = [
            ChannelRead(
                ParameterAxis(*key, torch.arange(size)), self.made[key] + torch.arange(size)
            )
            for key in used
            for size in [self.views.by_name[key[0]].shape[key[1]]]
        ]
        shared += [
            ChannelRead(axis, numbers)
            for axis, numbers in self.follows
            if axis[:2] not in self.repeated | self.tables
        ]
        by_axis: dict[tuple[str, int], dict[bytes, ChannelRead]] = defaultdict(dict)
        for one in [*shared, *self.reads]:
            once = by_axis[one.axis[:2]]
            once.setdefault(one.channels.int().numpy().tobytes() + str(one.rows).encode(), one)
        for reads in by_axis.values():
            for one, other in combinations(reads.values(), 2):
                if one.overlaps(other):
                    self._tie_positions(one, other)

    def _tie_positions(self, one: ChannelRead, other: ChannelRead) -> None:
        size = 1 + int(max(one.axis.positions.max(), other.axis.positions.max()))
        a, b = (
            torch.full((size,), -1).index_copy(0, read.axis.positions, read.channels.long())
            for read in (one, other)
        )
        both = (a > 0) & (b > 0)
        self.channels.tie(zip(a[both].tolist(), b[both].tolist(), strict=True))
        self.channels.refuse(a[(a > 0) & (b == 0)].tolist(), SHARED)
        self.channels.refuse(b[(b > 0) & (a == 0)].tolist(), SHARED)

    def _axis(self, parameter: Tensor, dim: int) -> ParameterAxis | None:
        name = self.views.name(parameter)
        if name is None or parameter.numel() > 1:
            return self.views.axis(parameter, dim)
        whole = self.views.by_name[name]
        return ParameterAxis(name, 0, torch.zeros(1).long()) if whole.shape.numel() == 1 else None


@dataclass(frozen=True, eq=False)
class Operand:
    """An operand of an elementwise operation: its labels, in its own shape, and itself."""

    labels: Labels
    tensor: Tensor

    def repeated(self, shape: Sequence[int]) -> list[int]:
        """The axes of the result along which the operand's elements are repeated."""
        return [dim for dim in _repeated(self.tensor, shape) if shape[dim] > 1]


def _repeated(tensor: Tensor, shape: Sequence[int]) -> list[int]:
    """The axes of a result of that shape that the tensor does not have, or has once."""
    lead = len(shape) - tensor.ndim
    axes = list(range(lead))
    for dim, size in enumerate(tensor.shape):
        if size == 1 or tensor.stride(dim) == 0:
            axes.append(lead + dim)
    return axes


def varies(labels: Labels, dim: int) -> bool:
    """Do labels change along this axis?"""
    return labels.shape[dim] > 1 and not bool((labels == labels.narrow(dim, 0, 1)).all())


def core(*labels: Labels, dims: Sequence[int] | None = None) -> list[Labels]:
    """Labels of one shape, with one position of every axis along which none of them changes."""
    for dim in range(labels[0].ndim) if dims is None else dims:
        if not any(varies(part, dim) for part in labels):
            labels = tuple(part.narrow(dim, 0, min(1, part.shape[dim])) for part in labels)
    return list(labels)


def distinct_columns(labels: Labels) -> Labels:
    """P x M labels with every column once."""
    return labels.unique(dim=1) if labels.shape[1] > 1 else labels
