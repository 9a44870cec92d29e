"""Forward passes of a model over the batches of a split, node by node, with replaced tensors."""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.node import Node

from pruning_core.evaluation.accuracy import Judge
from pruning_core.evaluation.thread_pool import InlineExecutor
from pruning_core.model.device import choose_device, on_device
from pruning_core.model.graph import Program, Stage, Values, ValuesMissing, program, skeleton
from pruning_core.model.model_io import (
    as_read_by,
    require_logits,
    sample_range,
    tensors_in,
    to_device,
)
from pruning_core.model.model_io import input_tensors as contents
from pruning_core.types import Inputs, PruningError, Split

BUDGET = 2**30
"""Most bytes of activations that are kept: 1 GiB."""
LARGE_BATCH = 2**24
"""A batch of more bytes keeps all kernel threads busy, so that one worker computes it."""
MAX_WORKERS = 4
"""Most workers for smaller batches."""
Read = Callable[[int, Any], Any]
"""(index of a batch, the model's output for it) -> what is kept of it."""
Replacements = Mapping[str, Tensor]
"""Parameter or buffer name -> the tensor that takes its place, of its stored shape and type."""


class Forward:
    """The traced program of a model and the batches of a split.

    The model is read and never changed. Any thread may call any method at any time.

    judge: of the data set; with it a pass ends with the outputs that its task judges, else with the
    logits. known: a Forward of the same model on the same device with other images; its program is
    used, and the model is not traced again. traced: False where torch.fx cannot trace the model and
    no part of it can run alone, so that it is one node; reason: why. same_bits: the (number of
    images, node) pairs that gave the same bits on other threads; None after one that did not.
    Raises PruningError for a split without images.
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
        judge: Judge | None = None,
    ) -> None:
        if not len(split):
            raise PruningError("There are no images to evaluate on.")
        self.device = choose_device(device)
        self._split = split
        self._model = model
        self._size = batch_size
        self.batches = range(-(-len(split) // batch_size))
        first = self.images(0)
        outputs = judge.task.own_outputs if judge else None
        self.program: Program = (
            known.program
            if known
            else program(on_device(model, self.device), sample_range(first, 0, 1), outputs)
        )
        self.reason = self.program.reason
        self.traced = self.reason is None
        alone = (
            self.device.type != "cpu"
            or sum(tensor.nbytes for tensor in contents(first)) > LARGE_BATCH
        )
        self.workers = workers or (1 if alone else min(MAX_WORKERS, torch.get_num_threads()))
        self.same_bits: set[tuple[int, Node]] | None = known.same_bits if known else set()
        self._free: list[Program] = []

    def count(self, batch: int) -> int:
        """Number of images in the batch."""
        return min(self._size, len(self._split) - batch * self._size)

    def targets(self, batch: int) -> Tensor:
        """The targets of a batch."""
        start = batch * self._size
        return self._split.labels[start : start + self.count(batch)]

    def measured_by(self, judge: Judge) -> Read:
        """Keeps of each batch's output what the judge measures."""
        own = replace(judge, read=True)
        return lambda batch, out: own.parts(out, self.targets(batch))

    def images(self, batch: int) -> Inputs:
        """The images of a batch, or its other inputs, on the device."""
        chosen = self._split.subset(
            range(batch * self._size, batch * self._size + self.count(batch))
        )
        inputs = next(iter(chosen.batches(self._size)))[0]
        return to_device(as_read_by(self._model, inputs), self.device)

    @torch.inference_mode()
    def run(
        self,
        stages: Sequence[Stage],
        values: Values,
        replacements: Replacements,
        wanted: Collection[Node],
    ) -> Values:
        """The wanted values after the stages, with tensors of the model replaced.

        `values` is not changed. Every thread computes on its own copy of the modules, which shares
        the model's tensors. Raises PruningError for a replacement of another shape or type.
        """
        try:
            private = self._free.pop()
        except IndexError:
            private = replace(self.program, root=skeleton(self.program.root))
        with private.swapped(replacements):
            computed = private.run(stages, dict(values))
        self._free.append(private)
        return {node: computed[node] for node in wanted}

    def run_batch(
        self,
        batch: int,
        stages: Sequence[Stage],
        values: Values,
        replacements: Replacements,
        wanted: Collection[Node],
    ) -> Values:
        """As `run`, but from the batch's images on where the values are not enough.

        That happens only to a model without a trace whose calls differ from batch to batch.
        """
        try:
            return self.run(stages, values, replacements, wanted)
        except ValuesMissing:
            start = self.program.start(self.images(batch))
            _, todo = self.program.missing(wanted, start)
            return self.run(self.program.stages(todo, wanted), start, replacements, wanted)


def read_logits(_batch: int, out: Any) -> Tensor:
    """Keeps the logits of a batch, on the CPU."""
    return require_logits(out).float().cpu()


class CheckedThreads:
    """Computes stages on other threads where those give the same bits as the calling thread.

    This is checked: the first time a node runs with some number of images, both compute it. If they
    differ (a kernel that splits a sum over its threads), the calling thread computes everything
    from then on.
    """

    def __init__(self, forward: Forward, pool: Executor) -> None:
        self._forward = forward
        self._inline = InlineExecutor()
        self._pool = pool

    def submit(
        self,
        batch: int,
        stages: Sequence[Stage],
        values: Values,
        replacements: Replacements,
        wanted: Collection[Node],
        read: Read | None = None,
    ) -> Future[Values]:
        """The future of `Forward.run` for a batch.

        read: with it the model's output is replaced by what is kept of it, in the same thread.
        """
        call = partial(self._forward.run_batch, batch, stages, values, replacements, wanted)
        kept = partial(self._kept, batch, read)
        same_bits = self._forward.same_bits
        if same_bits is None or isinstance(self._pool, InlineExecutor):
            return self._inline.submit(lambda: kept(call()))
        keys = {(self._forward.count(batch), stage.node) for stage in stages}
        if keys <= same_bits:
            return self._pool.submit(lambda: kept(call()))
        here = self._inline.submit(call)
        there = self._pool.submit(call)
        self._forward.same_bits = (
            same_bits | keys if all_equal(here.result(), there.result()) else None
        )
        return self._inline.submit(kept, here.result())

    def _kept(self, batch: int, read: Read | None, values: Values) -> Values:
        result = self._forward.program.result
        if read is None or result not in values:
            return values
        return {**values, result: read(batch, values[result])}


def all_equal(first: Values, second: Values) -> bool:
    """Are all tensors among the values equal, bit for bit?"""
    pairs = zip(computed_tensors(first), computed_tensors(second), strict=True)
    return all(a is b or torch.equal(a, b) for a, b in pairs)


def computed_tensors(values: Mapping[Node, Any]) -> list[Tensor]:
    """The tensors in the values, without the model's own."""
    return tensors_in([value for node, value in values.items() if node.op != "get_attr"])


def held_bytes(values: Mapping[Node, Any]) -> int:
    """Bytes of the storages of the values, each storage once. The model's tensors do not count."""
    storages = [tensor.untyped_storage() for tensor in computed_tensors(values)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
