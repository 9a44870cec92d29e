"""One layer masked at a time: only what lies downstream of its weight is computed again, with the same logits bit for bit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.fx.node import Node
from torch.utils._pytree import tree_leaves

from pruning_core.device import choose_device, placed, ready
from pruning_core.graph import Program, Stage, Values, program
from pruning_core.inventory import oihw
from pruning_core.types import Layer, PruningError, Split

BUDGET = 2**30
"""Bytes of activations that a replay may hold: 1 GiB."""
Mask = Bool[Tensor, "_o _i _h _w"]
Change = Mapping[str, Tensor]
"""Parameter or buffer name -> the tensor to compute with in its place, of its stored shape and type."""


@dataclass(frozen=True)
class _Masked(Change):
    """One layer's weight with its mask, computed only when it is read: masks take a quarter of the memory."""

    layer: Layer
    weight: Tensor
    mask: Mask

    def __getitem__(self, name: str) -> Tensor:
        if name != self.layer.name:
            raise KeyError(name)
        gone = ~self.mask.to(self.weight.device)
        return oihw(self.weight, self.layer).masked_fill(gone, 0).reshape(self.layer.param_shape)

    def __iter__(self) -> Iterator[str]:
        return iter((self.layer.name,))

    def __len__(self) -> int:
        return 1


@dataclass(frozen=True, eq=False)
class _Cut:
    """One site in the program. needs: values to hold for it; stages: what depends on its tensors."""

    names: tuple[str, ...]
    needs: frozenset[Node]
    stages: tuple[Stage, ...]


@dataclass(eq=False)
class _Held:
    """The values of some batches at the current site, and how many bytes they are."""

    budget: int
    values: dict[int, Values] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)

    def take(self, batch: int) -> Values | None:
        """Gives a batch's values out, if they are here; they count no more."""
        self.sizes.pop(batch, None)
        return self.values.pop(batch, None)

    def put(self, batch: int, values: Values) -> bool:
        """Holds the values if the budget allows, and says whether it does."""
        size = held_bytes(values)
        fits = sum(self.sizes.values()) + size <= self.budget
        if fits:
            self.values[batch], self.sizes[batch] = values, size
        return fits


class Replay:
    """Logits of a model on a split with one layer masked at a time, equal bit for bit to full forward passes of the same batches.

    The dense pass walks through the layers once, in step with the visits: at each layer a batch holds only the values that this
    or a later layer still needs (at most `budget` bytes over all batches; a batch beyond that is computed from its images again
    at every layer; a batch is never split, which could change the last bits). traced: False where torch.fx could not trace the
    model, which is then computed in full; reason: why. batch_size: that of `train.evaluate`, for the same numbers.
    The model is read, never changed; any number of replays may run on it in as many threads. Raises PruningError for no images.
    """

    def __init__(
        self, model: nn.Module, split: Split, *, device: torch.device | None = None, batch_size: int = 256, budget: int = BUDGET
    ) -> None:
        if not len(split):
            raise PruningError("There are no images to evaluate on.")
        self.device = choose_device(device)
        self._split, self._size, self._budget = split, batch_size, budget
        self._program: Program = program(ready(model, self.device), self._images(0))
        self.reason = self._program.reason
        self.traced = self.reason is None
        self.most_held = 0

    def run(
        self, layers: Sequence[Layer], masks: Callable[[Layer], Sequence[Mask]]
    ) -> Iterator[tuple[Layer, int, Float[Tensor, "n c"]]]:
        """Yields (layer, place of the mask, logits of all images on the CPU) for each layer's masks, layer by layer as given."""

        def masked(at: int) -> list[Change]:
            weight = self._program.tensor(layers[at].name)
            return [_Masked(layers[at], weight, mask) for mask in masks(layers[at])]

        for at, place, logits in self.visits([(layer.name,) for layer in layers], masked):
            yield layers[at], place, logits

    def visits(
        self, sites: Sequence[tuple[str, ...]], changes: Callable[[int], Sequence[Change]]
    ) -> Iterator[tuple[int, int, Float[Tensor, "n c"]]]:
        """Yields (index of the site, place of the change, logits of all images on the CPU), site by site as given.

        site: the parameters and buffers that its changes may replace, together; a change need not replace all of them.
        changes: asked once per site, when its turn comes. What depends on any tensor of the site is computed again, the rest
        is not. The network's own order is the cheapest; any other gives the same logits.
        Raises PruningError for a name that the model or the site does not have, or for a tensor of another shape or type.
        """
        cuts = [self._cut(names) for names in sites]
        held = _Held(self._budget)
        for at, cut in enumerate(cuts):
            later = frozenset[Node]().union(*(other.needs for other in cuts[at:]))
            asked = changes(at)
            if not asked:
                continue
            _check(asked, cut.names)
            logits: list[dict[int, Tensor]] = [{} for _ in asked]
            for batch in range(-(-len(self._split) // self._size)):
                values = self._advanced(batch, held.take(batch), cut.needs, later)
                if not held.put(batch, values):
                    for found, change in zip(logits, asked, strict=True):
                        found |= self._changed(cut, change, {batch: values})
            self.most_held = max(self.most_held, sum(held.sizes.values()))
            for place, change in enumerate(asked):
                logits[place] |= self._changed(cut, change, held.values)
                yield at, place, torch.cat([logits[place][batch] for batch in sorted(logits[place])])

    def _cut(self, names: tuple[str, ...]) -> _Cut:
        nodes = self._program.downstream(names)
        result, inside = self._program.result, set(nodes)
        needs = {source for node in nodes for source in node.all_input_nodes if source not in inside}
        return _Cut(names, frozenset(needs | ({result} - inside)), self._program.stages(nodes, {result}))

    def _images(self, batch: int) -> Tensor:
        start = batch * self._size
        part = self._split.subset(range(start, min(start + self._size, len(self._split))))
        return placed(next(iter(part.batches(self._size)))[0], self.device)

    @torch.inference_mode()
    def _advanced(self, batch: int, values: Values | None, needs: frozenset[Node], later: frozenset[Node]) -> Values:
        """The batch's dense values moved on, so that they hold what is needed now, and else only what is needed later."""
        values = self._program.start(self._images(batch)) if values is None else values
        _, todo = self._program.missing(needs, values)
        keep, _ = self._program.missing(later, {*values, *todo})
        self._program.run(self._program.stages(todo, keep), values)
        return {node: value for node, value in values.items() if node in keep}

    @torch.inference_mode()
    def _changed(self, cut: _Cut, change: Change, batches: Mapping[int, Values]) -> dict[int, Tensor]:
        """The logits of some batches with the change made."""
        if not batches:
            return {}
        with self._program.swapped(change):
            result = self._program.result
            return {k: self._program.run(cut.stages, dict(values))[result].float().cpu() for k, values in batches.items()}


def _check(changes: Sequence[Change], site: tuple[str, ...]) -> None:
    for change in changes:
        if strange := sorted(set(change) - set(site)):
            raise PruningError(f"A change replaces {strange[0]}, which its site {site} does not name.")


def held_bytes(values: Mapping[Node, Any]) -> int:
    """Bytes of the storages that the values live in, each counted once; parameters do not count."""
    tensors = [leaf for node, value in values.items() if node.op != "get_attr" for leaf in tree_leaves(value)]
    storages = [tensor.untyped_storage() for tensor in tensors if isinstance(tensor, Tensor)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
