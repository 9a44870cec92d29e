"""A model's forward passes over the batches of a split, node by node, with other tensors in the
places of some of its own.
"""

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.node import Node
from torch.utils._pytree import tree_leaves

from pruning_core.evaluation.thread_pool import Inline
from pruning_core.model.device import choose_device, ready
from pruning_core.model.graph import Program, Stage, Values, program, skeleton
from pruning_core.model.model_io import moved, part
from pruning_core.model.model_io import tensors as contents
from pruning_core.types import Inputs, PruningError, Split

BUDGET = 2**30
"""Bytes of activations that may be held: 1 GiB."""
WIDE = 2**24
MOST = 4
"""Batches of more bytes fill every kernel thread by themselves: one worker computes them; else at
most that many.
"""
Change = Mapping[str, Tensor]
"""Parameter or buffer name -> the tensor to compute with in its place, of its stored shape and
type.
"""


class Forward:
    """The traced program of a model and the batches of a split. The model is read, never changed;
    any thread may ask at any time.

    known: the same model on the same device with other images, which need not be traced and
    compared again. traced: False where torch.fx could not trace the model, which is then one node;
    reason: why. alike: what was seen to give the same bits on other threads (images in the batch,
    node); None where something did not. Raises PruningError for no images.
    """

    def __init__(
        self,
        model: nn.Module,
        split: Split,
        *,
        device: torch.device | None = None,
        batch_size: int = 256,
        workers: int | None = None,
        known: "Forward | None" = None,
    ) -> None:
        if not len(split):
            raise PruningError("There are no images to evaluate on.")
        self.device = choose_device(device)
        self._split = split
        self._size = batch_size
        self.batches = range(-(-len(split) // batch_size))
        first = self.images(0)
        self.program: Program = (
            known.program if known else program(ready(model, self.device), part(first, 0, 1))
        )
        self.reason = self.program.reason
        self.traced = self.reason is None
        alone = self.device.type != "cpu" or sum(tensor.nbytes for tensor in contents(first)) > WIDE
        self.workers = workers or (1 if alone else min(MOST, torch.get_num_threads()))
        self.alike: set[tuple[int, Node]] | None = known.alike if known else set()
        self._free: list[Program] = []

    def count(self, batch: int) -> int:
        """How many images the batch has."""
        return min(self._size, len(self._split) - batch * self._size)

    def images(self, batch: int) -> Inputs:
        """The batch's images, or other inputs, ready for the model."""
        chosen = self._split.subset(
            range(batch * self._size, batch * self._size + self.count(batch))
        )
        return moved(next(iter(chosen.batches(self._size)))[0], self.device)

    @torch.inference_mode()
    def run(
        self, stages: Sequence[Stage], values: Values, change: Change, wanted: Collection[Node]
    ) -> Values:
        """The wanted values after the stages with the change made; the given values stay as they are.

        Every thread computes on modules of its own, which share the model's tensors. Raises
        PruningError for a change that does not fit.
        """
        try:
            twin = self._free.pop()
        except IndexError:
            twin = replace(self.program, root=skeleton(self.program.root))
        with twin.swapped(change):
            found = twin.run(stages, dict(values))
        self._free.append(twin)
        return {node: found[node] for node in wanted}


class Team:
    """Computes stages on a crew's threads where those give the same bits as the caller's thread.

    That is seen, not believed: a node's first run with a number of images is computed by both. If
    they differ (a kernel that splits a sum over its threads), all is computed in the caller's
    thread from then on.
    """

    def __init__(self, forward: Forward, crew: Executor) -> None:
        self._forward = forward
        self._inline = Inline()
        self._crew = crew

    def submit(
        self,
        batch: int,
        stages: Sequence[Stage],
        values: Values,
        change: Change,
        wanted: Collection[Node],
    ) -> Future[Values]:
        """The future of `Forward.run` for that batch."""
        call = partial(self._forward.run, stages, values, change, wanted)
        alike = self._forward.alike
        if alike is None or isinstance(self._crew, Inline):
            return self._inline.submit(call)
        asked = {(self._forward.count(batch), stage.node) for stage in stages}
        if asked <= alike:
            return self._crew.submit(call)
        mine = self._inline.submit(call)
        theirs = self._crew.submit(call)
        self._forward.alike = alike | asked if same(mine.result(), theirs.result()) else None
        return mine


def same(first: Values, second: Values) -> bool:
    """Are all tensors among the values equal, bit for bit?"""
    pairs = zip(tensors(first), tensors(second), strict=True)
    return all(a is b or torch.equal(a, b) for a, b in pairs)


def tensors(values: Mapping[Node, Any]) -> list[Tensor]:
    """The tensors that the values are made of, the model's own apart."""
    leaves = [
        leaf
        for node, value in values.items()
        if node.op != "get_attr"
        for leaf in tree_leaves(value)
    ]
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def held_bytes(values: Mapping[Node, Any]) -> int:
    """Bytes of the storages that the values live in, each counted once; parameters do not count."""
    storages = [tensor.untyped_storage() for tensor in tensors(values)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
