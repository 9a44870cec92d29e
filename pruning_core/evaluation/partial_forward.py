"""One layer masked at a time: only what lies downstream of its weight is computed again, with the
same logits bit for bit.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.fx.node import Node

from pruning_core.evaluation.forward import BUDGET, Change, Forward, Team, held_bytes
from pruning_core.evaluation.thread_pool import worker_pool
from pruning_core.model.graph import Stage, Values, empty_as
from pruning_core.types import Layer, PruningError, Split

Mask = Bool[Tensor, "_o _i _h _w"]
WORDS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Whole numbers of as many bytes: times 0 or 1 they give the very bits of zero or the number, far
sooner than a fill by mask.
"""


@dataclass(frozen=True)
class Zeroed(Change):
    """Parameters with what is removed at zero, each computed only when it is read: masks take a
    quarter of the memory.

    tensors: gives a parameter by its name; keep: what of it stays, in its stored shape.
    """

    tensors: Callable[[str], Tensor]
    keep: Mapping[str, Bool[Tensor, "..."]]

    def __getitem__(self, name: str) -> Tensor:
        old = self.tensors(name)
        keep = self.keep[name].to(old.device).view(torch.int8)
        # Not an inference tensor, whatever the caller's mode: `fitting` would have to copy it.
        with torch.inference_mode(old.is_inference()), torch.no_grad():
            words = old.detach().view(WORDS[old.element_size()])
            return torch.mul(words, keep, out=empty_as(words)).view(old.dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keep)

    def __len__(self) -> int:
        return len(self.keep)


@dataclass(frozen=True, eq=False)
class _Cut:
    """One site in the program. needs: values to hold for it; stages: what depends on its tensors."""

    names: tuple[str, ...]
    needs: frozenset[Node]
    stages: tuple[Stage, ...]


@dataclass(eq=False)
class _Held:
    """The values of some batches at the current site, and how many bytes they are. beside: bytes of
    the site before, in use.
    """

    budget: int
    values: dict[int, Values] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    beside: int = 0
    most: int = 0

    def bytes(self) -> int:
        return sum(self.sizes.values())

    def take(self, batch: int) -> Values | None:
        """Gives a batch's values out, if they are here; they count no more."""
        self.sizes.pop(batch, None)
        return self.values.pop(batch, None)

    def put(self, batch: int, values: Values) -> bool:
        """Holds the values if the budget allows, and says whether it does."""
        total = self.bytes() + self.beside + (size := held_bytes(values))
        if total <= self.budget:
            self.values[batch], self.sizes[batch], self.most = values, size, max(self.most, total)
        return total <= self.budget


@dataclass(frozen=True, eq=False)
class _Point:
    """One change at one site, and the logits of each batch, on their way."""

    at: int
    place: int
    change: Change
    parts: dict[int, Future[Values]] = field(default_factory=dict)


class PartialForward:
    """Logits of a model on a split with one layer masked at a time, equal bit for bit to full
    forward passes of the same batches.

    They are equal on every processor, with the same number of threads: the same kernels run, on
    tensors of the same shapes and of the same kind (`graph.fitting`). In batches of another size
    they are equal within float rounding only. The dense pass walks through the layers once, in step
    with the visits: at each layer a batch holds only the values that this or a later layer still
    needs (at most `budget` bytes over all batches; a batch beyond that is computed from its images
    again at every layer; a batch is never split). Visits are computed side by side by `workers`
    threads. traced: False where torch.fx could not trace the model, which is then computed in full;
    reason: why. goes_on: visits leave what they hold at their last site to the next ones, which
    walk on from there where that is enough; those at the same time hold their own, so that as many
    times `budget` may stay. known: as in `Forward`. batch_size: that of `accuracy.evaluate`, for
    the same numbers. The model is read, never changed; any number of replays may run on it in as
    many threads. Raises PruningError for no images.
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
        goes_on: bool = False,
        known: Forward | None = None,
    ) -> None:
        self.forward = Forward(
            model, split, device=device, batch_size=batch_size, workers=workers, known=known
        )
        self.traced = self.forward.traced
        self.reason = self.forward.reason
        self._budget = budget
        self.most_held = 0
        self._goes_on = goes_on
        self._kept = list[_Held]()

    def run(
        self, layers: Sequence[Layer], masks: Callable[[Layer], Sequence[Mask]]
    ) -> Iterator[tuple[Layer, int, Float[Tensor, "n c"]]]:
        """Yields (layer, place of the mask, logits of all images on the CPU) for each layer's
        masks, layer by layer as given.

        The plain case of `visits`, one weight at a time, for your own masks (scans cut by `cuts`).
        """

        def masked(at: int) -> list[Zeroed]:
            layer = layers[at]
            tensors = self.forward.program.tensor
            return [
                Zeroed(tensors, {layer.name: mask.reshape(layer.param_shape)})
                for mask in masks(layer)
            ]

        for at, place, logits in self.visits([(layer.name,) for layer in layers], masked):
            yield layers[at], place, logits

    def visits(
        self, sites: Sequence[tuple[str, ...]], changes: Callable[[int], Sequence[Change]]
    ) -> Iterator[tuple[int, int, Float[Tensor, "n c"]]]:
        """Yields (index of the site, place of the change, logits of all images on the CPU), site by
        site as given.

        site: the parameters and buffers that its changes may replace, together; a change need not
        replace all of them. changes: asked once per site, when its turn comes. What depends on any
        tensor of the site is computed again, the rest is not. The network's own order is the
        cheapest; any other gives the same logits. Raises PruningError for a name that the model or
        the site does not have, or for a tensor of another shape or type.
        """
        cuts = [self._cut(names) for names in sites]
        pending = deque[_Point]()
        with self._going_on() as held, worker_pool(self.forward.workers) as threads:
            team = Team(self.forward, threads)
            for at, cut in enumerate(cuts):
                points = [_Point(at, place, change) for place, change in enumerate(changes(at))]
                _check(points, cut.names)
                if not points:
                    continue
                held.beside = held.bytes() if pending else 0
                later = frozenset[Node]().union(*(other.needs for other in cuts[at:]))
                for batch in self.forward.batches:
                    values = self._advanced(team, batch, held.take(batch), cut.needs, later)
                    if held.put(batch, values):
                        continue
                    yield from self._ready(pending, 0)
                    held.beside = 0
                    if not held.put(batch, values):
                        self._visit(team, cut, points, {batch: values})
                        wait([point.parts[batch] for point in points])
                self.most_held = held.most
                for point in points:
                    self._visit(team, cut, [point], held.values)
                    pending.append(point)
                    yield from self._ready(pending, 2 * (self.forward.workers - 1))
            yield from self._ready(pending, 0)

    @contextmanager
    def _going_on(self) -> Iterator[_Held]:
        """What the last visits held, which nobody else has meanwhile."""
        try:
            held = self._kept.pop()
        except IndexError:
            held = _Held(self._budget)
        try:
            yield held
        finally:
            if self._goes_on:
                self._kept.append(held)

    def _cut(self, names: tuple[str, ...]) -> _Cut:
        found = self.forward.program
        nodes = (below := found.downstream(names))
        inside = set(below)
        needs = {
            source for node in nodes for source in node.all_input_nodes if source not in inside
        }
        return _Cut(
            names, frozenset(needs | ({found.result} - inside)), found.stages(nodes, {found.result})
        )

    def _advanced(
        self,
        team: Team,
        batch: int,
        values: Values | None,
        needs: frozenset[Node],
        later: frozenset[Node],
    ) -> Values:
        """The batch's dense values moved on, so that they hold what is needed now, and else only
        what is needed later.
        """
        found = self.forward.program
        _, todo = found.missing(needs, values or {})
        if values is None or any(node.op == "placeholder" for node in todo):
            values = found.start(self.forward.images(batch))
            _, todo = found.missing(needs, values)
        keep, _ = found.missing(later, {*values, *todo})
        if not todo:
            return {node: values[node] for node in keep}
        return team.submit(batch, found.stages(todo, keep), values, {}, keep).result()

    def _visit(
        self, team: Team, cut: _Cut, points: Sequence[_Point], batches: dict[int, Values]
    ) -> None:
        """Sends the changes off, for some batches."""
        for point in points:
            for batch, values in batches.items():
                point.parts[batch] = team.submit(
                    batch, cut.stages, values, point.change, {self.forward.program.result}
                )

    def _ready(self, pending: deque[_Point], rest: int) -> Iterator[tuple[int, int, Tensor]]:
        """Waits for the first points until only so many are on their way."""
        result = self.forward.program.result
        while len(pending) > rest:
            point = pending.popleft()
            logits = [
                point.parts[batch].result()[result].float().cpu() for batch in self.forward.batches
            ]
            yield point.at, point.place, torch.cat(logits)


def _check(points: Sequence[_Point], site: tuple[str, ...]) -> None:
    for point in points:
        if strange := sorted(set(point.change) - set(site)):
            raise PruningError(
                f"A change replaces {strange[0]}, which its site {site} does not name."
            )
