"""Accuracy while somebody moves a slider: what does not depend on the changed weights is never
computed again.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.fx.node import Node

from pruning_core.evaluation.forward import BUDGET, Change, Forward, Team, held_bytes
from pruning_core.evaluation.thread_pool import worker_pool
from pruning_core.model.graph import Values, fitting
from pruning_core.model.model_io import part
from pruning_core.types import Split

Mark = frozenset[tuple[int, bytes]]
"""Which of the tensors that a value depends on were replaced, and by what."""


@dataclass(eq=False)
class _Memo:
    """Values by batch, node and mark; those not asked for the longest go when the bytes are more
    than the budget.
    """

    budget: int
    found: OrderedDict[tuple[int, Node, Mark], Any] = field(default_factory=OrderedDict)
    bytes: int = 0

    def get(self, batch: int, marks: Mapping[Node, Mark]) -> Values:
        """The batch's values that are here for those nodes."""
        keys = [(batch, node, mark) for node, mark in marks.items()]
        return {key[1]: self.found[key] for key in keys if key in self.found}

    def use(self, batch: int, nodes: Collection[Node], marks: Mapping[Node, Mark]) -> None:
        """Those that are here were asked for."""
        for key in [(batch, node, marks[node]) for node in nodes]:
            if key in self.found:
                self.found.move_to_end(key)

    def put(self, batch: int, values: Values, marks: Mapping[Node, Mark]) -> None:
        """Holds what is not here yet."""
        for node in values.keys() - {
            node for node, mark in marks.items() if (batch, node, mark) in self.found
        }:
            self.found[batch, node, marks[node]] = values[node]
            self.bytes += held_bytes({node: values[node]})
        while self.bytes > self.budget:
            (_, node, _), value = self.found.popitem(last=False)
            self.bytes -= held_bytes({node: value})


class IncrementalForward:
    """Logits of one model on one split for changes that come one after the other; equal bit for bit
    to full forward passes.

    As for `PartialForward`, that holds for the same batches and the same number of threads.

    Every value that enters a prunable weight's node is held under what it depends on: a change of one layer
    computes only what is downstream of it, and a change back is looked up. At most `budget` bytes
    are held, one state taking half of them at most (where the whole is more, the last layers are
    held), the least recently used going first. The model is read, never changed. One thread at a
    time computes; others wait. traced: False where torch.fx could not trace the model: then only
    whole results are looked up; reason: why. Raises PruningError for no images.
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
    ) -> None:
        self.forward = Forward(model, split, device=device, batch_size=batch_size, workers=workers)
        self.traced = self.forward.traced
        self.reason = self.forward.reason
        self._memo = _Memo(budget)
        self._lock = threading.Lock()
        self._reads = {
            node: self.forward.program.reads(node) for node in self.forward.program.nodes
        }
        self._held = _affordable(self.forward, budget // 2 // len(split))

    @property
    def held(self) -> int:
        """Bytes held now."""
        return self._memo.bytes

    def logits(self, change: Change) -> Float[Tensor, "n c"]:
        """The logits of all images on the CPU with the change made; what equals the model's own
        tensor is no change.

        Raises PruningError for a name that the model does not have, or a tensor of another shape or
        type.
        """
        result = self.forward.program.result
        batches = self.forward.batches
        with self._lock:
            new = self._new(change)
            marks = self._marks(new)
            known = {batch: self._memo.get(batch, marks) for batch in batches}
            idle = all(result in values for values in known.values())
            with worker_pool(1 if idle else self.forward.workers) as threads:
                team = Team(self.forward, threads)
                parts = [self._part(team, batch, known[batch], new, marks) for batch in batches]
                found = [part.result() for part in parts]
            for batch, values in zip(batches, found, strict=True):
                self._memo.put(batch, values, marks)
            return torch.cat([values[result].float().cpu() for values in found])

    def _new(self, change: Change) -> Change:
        own = {name: self.forward.program.tensor(name) for name in change}
        fits = {name: fitting(change[name], old, name) for name, old in own.items()}
        return {name: tensor for name, tensor in fits.items() if not torch.equal(tensor, own[name])}

    def _marks(self, new: Change) -> dict[Node, Mark]:
        """What each node's value depends on, of what is new."""
        digests = {
            id(self.forward.program.tensor(name)): digest(tensor) for name, tensor in new.items()
        }
        marks: dict[Node, Mark] = {}
        for node, read in self._reads.items():
            own = frozenset((key, digests[key]) for key in read if key in digests)
            marks[node] = own.union(*(marks[source] for source in node.all_input_nodes))
        return marks

    def _part(
        self, team: Team, batch: int, known: Values, new: Change, marks: Mapping[Node, Mark]
    ) -> Future[Values]:
        """One batch's logits and values to hold, on their way."""
        program = self.forward.program
        used, todo = program.missing({program.result}, known)
        if any(node.op == "placeholder" for node in todo):
            known |= program.start(self.forward.images(batch))
            used, todo = program.missing({program.result}, known)
        self._memo.use(batch, used, marks)
        keep = {program.result} | (self._held & {*used, *todo})
        return team.submit(
            batch, program.stages(todo, keep), {node: known[node] for node in used}, new, keep
        )


def digest(tensor: Tensor) -> bytes:
    """128 bits of what the tensor holds."""
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.blake2b(flat.numpy().data, digest_size=16).digest()


def _affordable(forward: Forward, limit: int) -> frozenset[Node]:
    """What to hold: the values that enter what depends on a weight; from the last on, within that
    many bytes per image.
    """
    program = forward.program
    wanted = set[Node]()
    for name in (name for name, parameter in program.root.named_parameters() if parameter.ndim > 1):
        nodes = set(program.downstream((name,)))
        wanted |= {
            source
            for node in nodes
            for source in node.all_input_nodes
            if source not in nodes and source.op != "get_attr"
        }
    start = program.start(part(forward.images(0), 0, 1))
    stages = program.stages([node for node in program.nodes if node not in start], wanted)
    sizes = {
        node: held_bytes({node: value})
        for node, value in forward.run(stages, start, {}, wanted).items()
    }
    order = [node for node in reversed(program.nodes) if node in wanted]
    return frozenset(
        node
        for node, total in zip(order, accumulate(sizes[node] for node in order), strict=True)
        if total <= limit
    )
