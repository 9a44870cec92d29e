"""Accuracy while a slider moves: only what depends on the changed weights is computed again."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from jaxtyping import Float
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
from pruning_core.last_results import LastResults
from pruning_core.model.graph import Values, fitting
from pruning_core.model.model_io import raw_bytes, sample_range
from pruning_core.types import Evaluation, Split

Version = frozenset[tuple[int, bytes]]
"""Which of the tensors that a value depends on are replaced, and by what: (id, digest)."""


@dataclass(eq=False)
class _ValueCache:
    """Values by batch, node and version.

    When they are more bytes than the budget, the least recently used are removed.
    """

    budget: int
    entries: OrderedDict[tuple[int, Node, Version], Any] = field(default_factory=OrderedDict)
    bytes: int = 0

    def get(self, batch: int, versions: Mapping[Node, Version]) -> Values:
        """The cached values of a batch for those nodes."""
        keys = [(batch, node, version) for node, version in versions.items()]
        return {key[1]: self.entries[key] for key in keys if key in self.entries}

    def use(self, batch: int, nodes: Collection[Node], versions: Mapping[Node, Version]) -> None:
        """Marks the cached values of those nodes as used now."""
        for key in [(batch, node, versions[node]) for node in nodes]:
            if key in self.entries:
                self.entries.move_to_end(key)

    def put(self, batch: int, values: Values, versions: Mapping[Node, Version]) -> None:
        """Adds the values that are not cached yet."""
        for node in values.keys() - {
            node for node, version in versions.items() if (batch, node, version) in self.entries
        }:
            self.entries[batch, node, versions[node]] = values[node]
            self.bytes += held_bytes({node: values[node]})
        while self.bytes > self.budget:
            (_, node, _), value = self.entries.popitem(last=False)
            self.bytes -= held_bytes({node: value})


class IncrementalForward:
    """What one model gives on one split for one set of replaced tensors after another.

    They equal those of full forward passes bit for bit, for the same batches and the same number of
    threads, as for `PartialForward`. The values that enter the node of a prunable weight are cached
    with the tensors they depend on. So a change of one layer computes only what is downstream of
    it, and a change back is looked up.

    budget: most bytes in the cache; one state takes at most half of it. Where a state needs more,
    the last layers are cached. Values least recently used are removed first. The last replacements
    are kept too, outside of the budget, but for large ones. The model is read and never changed.
    One thread at a time computes; others are blocked meanwhile. traced: False where the model is
    computed in full, as in `PartialForward`; then only whole results are looked up; reason: why.
    judge: of the data set; with it only what it measures is kept of the outputs.
    Raises PruningError for a split without images.
    """

    def __init__(
        self,
        model: nn.Module,
        split: Split,
        *,
        device: torch.device | None = None,
        batch_size: int | None = None,
        budget: int = BUDGET,
        workers: int | None = None,
        judge: Judge | None = None,
    ) -> None:
        self._judge = judge
        size = batch_size or (judge or Judge()).task.batch_size
        self.forward = Forward(
            model, split, device=device, batch_size=size, workers=workers, judge=judge
        )
        self.traced = self.forward.traced
        self.reason = self.forward.reason
        self._read: Read = read_logits if judge is None else self.forward.measured_by(judge)
        self._cache = _ValueCache(budget)
        self._lock = threading.Lock()
        self._last = LastResults()
        self._reads = {
            node: self.forward.program.reads(node) for node in self.forward.program.nodes
        }
        self._held = _affordable(self.forward, budget // 2 // len(split))

    @property
    def held(self) -> int:
        """Bytes in the cache."""
        return self._cache.bytes

    def logits(self, replacements: Replacements) -> Float[Tensor, "n c"]:
        """The logits of all images on the CPU, with tensors of the model replaced.

        Without a judge. As `evaluation`.
        """
        return torch.cat(self._batches(replacements))

    def evaluation(self, replacements: Replacements) -> Evaluation:
        """The judge's evaluation, with tensors of the model replaced.

        A replacement that equals the model's own tensor is ignored. Do not change one in place by
        its `.data` or by NumPy and give it again: torch does not count such a change, and the
        tensor is not read again. Raises PruningError for a name that the model does not have, and
        for a tensor of another shape or type.
        """
        return (self._judge or Judge()).summarise(self._batches(replacements))

    def _batches(self, replacements: Replacements) -> list[Any]:
        """What is kept of each batch."""
        result = self.forward.program.result
        batches = self.forward.batches
        with self._lock:
            different = self._different(replacements)
            new = {name: tensor for name, (tensor, _) in different.items()}
            versions = self._versions({name: text for name, (_, text) in different.items()})
            known = {batch: self._cache.get(batch, versions) for batch in batches}
            all_known = all(result in values for values in known.values())
            with worker_pool(1 if all_known else self.forward.workers) as threads:
                team = CheckedThreads(self.forward, threads)
                parts = [
                    self._submit(team, batch, known[batch], new, versions) for batch in batches
                ]
                computed = [part.result() for part in parts]
            for batch, values in zip(batches, computed, strict=True):
                self._cache.put(batch, values, versions)
            return [values[result] for values in computed]

    def _different(self, replacements: Replacements) -> dict[str, tuple[Tensor, bytes]]:
        """The replacements that differ from the model's tensors, each with its digest.

        A small one that is the same object as before is not read again.
        """
        different = {}
        for name, tensor in replacements.items():
            read = partial(self._read_tensor, name, tensor)
            if tensor.is_inference():  # does not count its changes
                made = read()
            else:
                made = self._last.get(name, (tensor, tensor._version), read, tensor.numel())
            if made is not None:
                different[name] = made
        return different

    def _read_tensor(self, name: str, tensor: Tensor) -> tuple[Tensor, bytes] | None:
        """The tensor in the form of the model's own, and its digest; None where both are equal."""
        own = self.forward.program.tensor(name)
        fit = fitting(tensor, own, name)
        return None if torch.equal(fit, own) else (fit, digest(fit))

    def _versions(self, replaced: Mapping[str, bytes]) -> dict[Node, Version]:
        """The version of each node's value. replaced: the digests of the replaced tensors."""
        digests = {id(self.forward.program.tensor(name)): text for name, text in replaced.items()}
        versions: dict[Node, Version] = {}
        for node, read in self._reads.items():
            own = frozenset((key, digests[key]) for key in read if key in digests)
            versions[node] = own.union(*(versions[source] for source in node.all_input_nodes))
        return versions

    def _submit(
        self,
        team: CheckedThreads,
        batch: int,
        known: Values,
        new: Replacements,
        versions: Mapping[Node, Version],
    ) -> Future[Values]:
        """The future of one batch's logits and of the values to cache."""
        program = self.forward.program
        used, todo = program.missing({program.result}, known)
        if any(node.op == "placeholder" for node in todo):
            known |= program.start(self.forward.images(batch))
            used, todo = program.missing({program.result}, known)
        self._cache.use(batch, used, versions)
        keep = {program.result} | (self._held & {*used, *todo})
        return team.submit(
            batch,
            program.stages(todo, keep),
            {node: known[node] for node in used},
            new,
            keep,
            self._read if todo else None,
        )


def digest(tensor: Tensor) -> bytes:
    """A 128-bit hash of the tensor's bytes."""
    return hashlib.blake2b(raw_bytes(tensor), digest_size=16).digest()


def _affordable(forward: Forward, limit: int) -> frozenset[Node]:
    """The nodes whose values are cached, within `limit` bytes per image.

    They are the values that enter what depends on a weight, from the last layer on.
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
    start = program.start(sample_range(forward.images(0), 0, 1))
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
