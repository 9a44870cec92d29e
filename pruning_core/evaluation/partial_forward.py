"""Logits with one layer masked at a time: only what is downstream of it is computed again."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.fx.node import Node

from pruning_core.evaluation.accuracy import Judge
from pruning_core.evaluation.forward import (
    BUDGET,
    CheckedThreads,
    Forward,
    Read,
    Replacements,
    held_bytes,
    read_logits,
)
from pruning_core.evaluation.thread_pool import worker_pool
from pruning_core.model.graph import Stage, Values, empty_as
from pruning_core.model.inventory import stored
from pruning_core.types import Layer, PruningError, Split

Mask = Bool[Tensor, "_o _i _h _w"]
INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integer type by number of bytes. Multiplied by 0 or 1 it gives the bits of zero or of the value,
much faster than a fill by mask.
"""


@dataclass(frozen=True)
class Zeroed(Replacements):
    """Parameters with their removed places at zero, each computed when it is read.

    So only the masks are in memory, a quarter of the parameters' bytes. tensors: gives a parameter
    by name; keep: True = keep, in the parameter's own shape.
    """

    tensors: Callable[[str], Tensor]
    keep: Mapping[str, Bool[Tensor, "..."]]

    def __getitem__(self, name: str) -> Tensor:
        old = self.tensors(name)
        keep = self.keep[name].to(old.device).view(torch.int8)
        # Not an inference tensor, whatever the caller's mode: `fitting` would have to copy it.
        with torch.inference_mode(old.is_inference()), torch.no_grad():
            words = old.detach().view(INTEGERS[old.element_size()])
            return torch.mul(words, keep, out=empty_as(words)).view(old.dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keep)

    def __len__(self) -> int:
        return len(self.keep)


@dataclass(frozen=True, eq=False)
class _Site:
    """Parameters that are replaced together.

    needs: nodes whose values are computed once; stages: what depends on the parameters.
    """

    names: tuple[str, ...]
    needs: frozenset[Node]
    stages: tuple[Stage, ...]


@dataclass(eq=False)
class _Activations:
    """The values of some batches at the current site and their bytes.

    beside: bytes of the previous site that are still in use; most: largest total so far.
    """

    budget: int
    values: dict[int, Values] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    beside: int = 0
    most: int = 0

    def bytes(self) -> int:
        return sum(self.sizes.values())

    def take(self, batch: int) -> Values | None:
        """Removes a batch's values and gives them, or None where they are not kept."""
        self.sizes.pop(batch, None)
        return self.values.pop(batch, None)

    def put(self, batch: int, values: Values) -> bool:
        """Keeps the values if the budget allows it; returns whether it does."""
        size = held_bytes(values)
        total = self.bytes() + self.beside + size
        if total <= self.budget:
            self.values[batch] = values
            self.sizes[batch] = size
            self.most = max(self.most, total)
        return total <= self.budget


@dataclass(frozen=True, eq=False)
class _Run:
    """One change at one site, and the futures of what is read of each batch's output."""

    at: int
    place: int
    change: Replacements
    parts: dict[int, Future[Values]] = field(default_factory=dict)


class PartialForward:
    """Logits of a model on a split with one layer masked at a time.

    They equal those of full forward passes of the same batches bit for bit, on every processor,
    with the same number of threads: the same kernels run on tensors of the same shapes and the same
    kind (`graph.fitting`). In batches of another size they are equal within float rounding only.

    One dense forward pass is advanced from site to site. At each site a batch keeps only the values
    that this site or a later one needs, at most `budget` bytes over all batches. A batch that does
    not fit is computed again from its images at every site. `workers` threads compute changes at
    the same time.

    A model that torch.fx cannot trace runs from the module that changed on (`graph.replay`).
    traced: False where that does not give the same bits: the model is computed in full; reason:
    why. keep_values: the values at the last site are kept for the next call, which continues there
    where that is enough; calls at the same time keep their own, so that several times `budget` may
    be kept. known, judge: as in `Forward`. batch_size: that of `accuracy.evaluate`, for the same
    numbers.
    The model is read and never changed, and several threads may use it. Raises PruningError for a
    split without images.
    """

    def __init__(
        self,
        model: nn.Module,
        split: Split,
        *,
        device: torch.device | None = None,
        batch_size: int = 256,
        budget: int = BUDGET,
        workers: int | None = None,
        keep_values: bool = False,
        known: Forward | None = None,
        judge: Judge | None = None,
    ) -> None:
        self.forward = Forward(
            model,
            split,
            device=device,
            batch_size=batch_size,
            workers=workers,
            known=known,
            judge=judge,
        )
        self.traced = self.forward.traced
        self.reason = self.forward.reason
        self._budget = budget
        self.most_held = 0
        self._keep_values = keep_values
        self._kept = list[_Activations]()

    def run(
        self, layers: Sequence[Layer], masks: Callable[[Layer], Sequence[Mask]]
    ) -> Iterator[tuple[Layer, int, Float[Tensor, "n c"]]]:
        """Yields (layer, index of the mask, logits of all images on the CPU).

        Layers come in the given order. It is the simple form of `logits_at`: one weight at a time,
        masked by `masks(layer)`.
        """

        def masked(at: int) -> list[Zeroed]:
            layer = layers[at]
            tensors = self.forward.program.tensor
            return [Zeroed(tensors, {layer.name: stored(mask, layer)}) for mask in masks(layer)]

        for at, place, logits in self.logits_at([(layer.name,) for layer in layers], masked):
            yield layers[at], place, logits

    def logits_at(
        self, sites: Sequence[tuple[str, ...]], changes: Callable[[int], Sequence[Replacements]]
    ) -> Iterator[tuple[int, int, Float[Tensor, "n c"]]]:
        """Yields (index of the site, index of the change, logits of all images on the CPU).

        It is `read_at` that keeps all logits.
        """
        for at, place, batches in self.read_at(sites, changes, read_logits):
            yield at, place, torch.cat(batches)

    def read_at(
        self,
        sites: Sequence[tuple[str, ...]],
        changes: Callable[[int], Sequence[Replacements]],
        read: Read,
    ) -> Iterator[tuple[int, int, list[Any]]]:
        """Yields (index of the site, index of the change, what was read of each batch's output).

        read may run in any thread. Sites come in the given order. A site names the parameters and
        buffers that its changes may replace; a change may replace some. `changes` is called once
        per site, when it is reached. Only what depends on a tensor of the site is computed again.
        The network's own order is the fastest; any other gives the same numbers. Raises
        PruningError for unknown names, and for a tensor of another shape or type.
        """
        sites_in_program = [self._site(names) for names in sites]
        pending = deque[_Run]()
        with self._activations() as held, worker_pool(self.forward.workers) as threads:
            team = CheckedThreads(self.forward, threads)
            for at, site in enumerate(sites_in_program):
                runs = [_Run(at, place, change) for place, change in enumerate(changes(at))]
                _check(runs, site.names)
                if not runs:
                    continue
                held.beside = held.bytes() if pending else 0
                later = frozenset[Node]().union(*(other.needs for other in sites_in_program[at:]))
                for batch in self.forward.batches:
                    values = self._advanced(team, batch, held.take(batch), site.needs, later)
                    if held.put(batch, values):
                        continue
                    yield from self._ready(pending, 0)
                    held.beside = 0
                    if not held.put(batch, values):
                        self._submit(team, site, runs, {batch: values}, read)
                        wait([run.parts[batch] for run in runs])
                self.most_held = held.most
                for run in runs:
                    self._submit(team, site, [run], held.values, read)
                    pending.append(run)
                    yield from self._ready(pending, 2 * (self.forward.workers - 1))
            yield from self._ready(pending, 0)

    @contextmanager
    def _activations(self) -> Iterator[_Activations]:
        """The values that the last call kept, unless another call uses them."""
        try:
            held = self._kept.pop()
        except IndexError:
            held = _Activations(self._budget)
        try:
            yield held
        finally:
            if self._keep_values:
                self._kept.append(held)

    def _site(self, names: tuple[str, ...]) -> _Site:
        program = self.forward.program
        nodes = program.downstream(names)
        inside = set(nodes)
        needs = {
            source for node in nodes for source in node.all_input_nodes if source not in inside
        }
        return _Site(
            names,
            frozenset(needs | ({program.result} - inside)),
            program.stages(nodes, {program.result}),
        )

    def _advanced(
        self,
        team: CheckedThreads,
        batch: int,
        values: Values | None,
        needs: frozenset[Node],
        later: frozenset[Node],
    ) -> Values:
        """The batch's dense values, advanced to hold `needs`, and else only those in `later`."""
        program = self.forward.program
        _, todo = program.missing(needs, values or {})
        if values is None or any(node.op == "placeholder" for node in todo):
            values = program.start(self.forward.images(batch))
            _, todo = program.missing(needs, values)
        keep, _ = program.missing(later, {*values, *todo})
        if not todo:
            return {node: values[node] for node in keep}
        return team.submit(batch, program.stages(todo, keep), values, {}, keep).result()

    def _submit(
        self,
        team: CheckedThreads,
        site: _Site,
        runs: Sequence[_Run],
        batches: dict[int, Values],
        read: Read,
    ) -> None:
        """Submits the changes for some batches."""
        for run in runs:
            for batch, values in batches.items():
                run.parts[batch] = team.submit(
                    batch, site.stages, values, run.change, {self.forward.program.result}, read
                )

    def _ready(self, pending: deque[_Run], rest: int) -> Iterator[tuple[int, int, list[Any]]]:
        """Yields what was read of the first runs until only `rest` are not finished."""
        result = self.forward.program.result
        while len(pending) > rest:
            run = pending.popleft()
            batches = [run.parts[batch].result()[result] for batch in self.forward.batches]
            yield run.at, run.place, batches


def _check(runs: Sequence[_Run], site: tuple[str, ...]) -> None:
    for run in runs:
        if strange := sorted(set(run.change) - set(site)):
            raise PruningError(
                f"A change replaces {strange[0]}, which its site {site} does not name."
            )
