"""Where a forward pass can be taken up again, and what has to be kept for it."""

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from torch import nn

from pruning_core.model.graph.calls import ROOT, Call, Recording
from pruning_core.model.model_io import storage

Leaf = tuple[int, int]
"""A tensor of an output: (number of the call, place among the output's leaves).

The call `ROOT` gives the inputs.
"""


@dataclass(frozen=True, eq=False)
class Cut:
    """A place just before a call. What is before it does not depend on the weights after it.

    call: number of the call; finished: the calls before it whose outputs are given again, not
    computed; live: the tensors among these outputs and the inputs that are read again.
    """

    call: int
    finished: tuple[int, ...]
    live: frozenset[Leaf]


@dataclass(frozen=True, eq=False)
class CallOrder:
    """The order of a model's calls and the places where it can be taken up again.

    first: id of a parameter or buffer -> number of the call from which on it is read, `ROOT` where
    it is read before all calls or may be read anywhere; overwritten: outputs that a later operation
    writes over, so that they are copied.
    """

    calls: tuple[Call, ...]
    cuts: tuple[Cut, ...]
    first: Mapping[int, int]
    overwritten: frozenset[Leaf]

    def segments(self) -> dict[int, int]:
        """For each parameter and buffer, how many cuts are before its first use."""
        calls = [cut.call for cut in self.cuts]
        return {tensor: bisect_right(calls, number) for tensor, number in self.first.items()}


def common(first: Recording, second: Recording) -> tuple[Recording, Recording]:
    """The two recordings without the calls that are not the same in both."""
    paths: Collection[str] = first.opaque | second.opaque
    while paths := paths or _different(first, second):
        first = first.without(paths)
        second = second.without(paths)
        paths = ()
    return first, second


def _different(first: Recording, second: Recording) -> frozenset[str]:
    """Paths of the modules inside the first call whose inner calls differ."""
    inner = [_inner_calls(recording) for recording in (first, second)]
    pairs = [(ROOT, ROOT)]
    while pairs:
        numbers = pairs.pop()
        children = [calls.get(number, []) for calls, number in zip(inner, numbers, strict=True)]
        paths = [
            [recording.calls[child].path for child in within]
            for recording, within in zip((first, second), children, strict=True)
        ]
        if paths[0] != paths[1]:
            return first.inside(numbers[0]) | second.inside(numbers[1])
        pairs += zip(*children, strict=True)
    return frozenset()


def _inner_calls(recording: Recording) -> dict[int, list[int]]:
    inner: dict[int, list[int]] = {}
    for number, each in enumerate(recording.calls):
        inner.setdefault(each.parent, []).append(number)
    return inner


def call_order(root: nn.Module, recorded: tuple[Recording, Recording]) -> CallOrder:
    """The order of the calls that two passes on different inputs have in common.

    A cut is before the call that reads a matrix, a kernel or a table first.
    """
    kept = common(*recorded)
    first = _first_reads(root, kept)
    wide = {first[id(p)] for p in root.parameters() if p.ndim > 1}
    overwritten = frozenset(chain.from_iterable(map(_overwritten, kept)))
    numbers = sorted(wide - {ROOT})
    lives = [_live(each, numbers) for each in kept]
    cuts = [
        Cut(
            number, _finished(kept[0], number), frozenset().union(*(live[number] for live in lives))
        )
        for number in numbers
    ]
    usable = tuple(cut for cut in cuts if not any(_shared(each, cut, overwritten) for each in kept))
    return CallOrder(kept[0].calls, usable, first, overwritten)


def own_writes(root: nn.Module, recordings: Sequence[Recording]) -> bool:
    """Does the model write over its own parameters or buffers?"""
    own = {storage(tensor) for tensor in chain(root.parameters(), root.buffers())}
    return any(not own.isdisjoint(op.changes) for each in recordings for op in each.operations)


def _first_reads(root: nn.Module, recordings: Sequence[Recording]) -> dict[int, int]:
    """For each parameter and buffer, the call from which on it may be read.

    It is the earliest of the call in or after which it was seen to be read, and the first call of
    the modules that own it. Where neither is known, it is the first call of a module around them.
    """
    called: dict[str, int] = {}
    for number, each in enumerate(recordings[0].calls):
        called.setdefault(each.path, number)
    seen: dict[int, int] = {}
    for recording in recordings:
        starts = [each.start for each in recording.calls]
        for at, operation in enumerate(recording.operations):
            for address in operation.reads:
                place = bisect_right(starts, at) - 1
                seen[address] = min(seen.get(address, place), place)
    first: dict[int, int] = {}
    for path, module in root.named_modules(remove_duplicate=False):
        for tensor in chain(module._parameters.values(), module._buffers.values()):
            if tensor is None:
                continue
            known = [seen.get(storage(tensor)), called.get(path)]
            places = [place for place in known if place is not None]
            place = min(places) if places else _around(path, called)
            first[id(tensor)] = min(first.get(id(tensor), place), place)
    return first


def _around(path: str, called: Mapping[str, int]) -> int:
    while path:
        path = path.rpartition(".")[0]
        if path in called:
            return called[path]
    return ROOT


def _finished(recording: Recording, number: int) -> tuple[int, ...]:
    """The calls before a call, except those that are inside another one of them."""
    above = set(recording.ancestors(number))
    return tuple(
        n
        for n, each in enumerate(recording.calls[:number])
        if each.parent in above and each.after <= number
    )


def _leaves(recording: Recording, numbers: Sequence[int]) -> Iterator[tuple[Leaf, int]]:
    """The tensors of the inputs and of some calls' outputs, with their storages."""
    for place, address in enumerate(recording.inputs):
        yield (ROOT, place), address
    for number in numbers:
        for place, kept in enumerate(recording.calls[number].leaves):
            if kept is not None:
                yield (number, place), kept


def _overwritten(recording: Recording) -> Iterator[Leaf]:
    """The outputs and inputs that an operation writes over after they were given."""
    last: dict[int, int] = {}
    for at, operation in enumerate(recording.operations):
        last |= dict.fromkeys(operation.changes, at)
    for (number, place), address in _leaves(recording, range(len(recording.calls))):
        given = 0 if number == ROOT else recording.calls[number].end
        if last.get(address, -1) >= given:
            yield number, place


def _live(recording: Recording, numbers: Sequence[int]) -> dict[int, frozenset[Leaf]]:
    """For a cut before each of these calls, the outputs and inputs whose values are read again.

    Again run all operations after the cut, and those before it that belong to a call which is not
    finished. Of them, those count on which the result or Python depends.
    """
    operations = recording.operations
    glue: dict[int, list[int]] = {}
    for at, operation in enumerate(operations):
        glue.setdefault(operation.scope, []).append(at)
    needed = set(recording.result)
    reached = len(operations)
    live = {}
    for number in sorted(numbers, reverse=True):
        start = recording.calls[number].start
        for at in range(reached - 1, start - 1, -1):
            _add_reads(recording, at, needed)
        reached = min(reached, start)
        again = set(needed)
        given = list(_leaves(recording, _finished(recording, number)))
        outer = [at for scope in recording.ancestors(number) for at in glue.get(scope, ())]
        before = sorted(at for at in outer if at < start)
        mixed = _mixed_writes(recording, before, {address for _, address in given})
        for at in reversed(before):
            _add_reads(recording, at, again, at in mixed)
        live[number] = frozenset(leaf for leaf, address in given if address in again)
    return live


def _mixed_writes(recording: Recording, before: Sequence[int], kept: set[int]) -> set[int]:
    """The operations that write what comes from a kept output over a tensor that does not.

    That tensor has values, so what is written must have them too.
    """
    mixed = set()
    for at in before:
        operation = recording.operations[at]
        if kept.isdisjoint(operation.reads):
            continue
        if operation.changes and kept.isdisjoint(operation.changes):
            mixed.add(at)
        kept |= operation.writes
    return mixed


def _add_reads(recording: Recording, at: int, needed: set[int], always: bool = False) -> None:
    operation = recording.operations[at]
    if always or operation.alone or not needed.isdisjoint(operation.writes):
        needed |= operation.reads


def _shared(recording: Recording, cut: Cut, overwritten: frozenset[Leaf]) -> bool:
    """Is a live tensor written over that shares its storage with another live one?"""
    addresses = dict(_leaves(recording, cut.finished))
    held = [addresses[leaf] for leaf in cut.live if leaf in addresses]
    return any(
        leaf in overwritten and held.count(addresses[leaf]) > 1
        for leaf in cut.live
        if leaf in addresses
    )
