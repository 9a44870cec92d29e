"""Changes a pruned network layer by layer, in order of execution, against the dense network.

The dense network runs once: what each product gave is kept, without the bias. Then the pruned
network runs on the same images. At each layer its inputs are read, as they are after the changes of
the layers before it; the layer is changed; then the network runs on from there.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pruning_core.model.graph import skeleton
from pruning_core.model.input_rows import MOST_INPUTS, Product, products, seen_calls
from pruning_core.model.inventory.reads import PlainKernels
from pruning_core.model.model_io import (
    input_tensors,
    sample_count,
    sample_range,
    to_device,
)
from pruning_core.training.batch_norm import call_in_training
from pruning_core.types import Batches, Inputs, Layer, PruningError

MOST_ACTIVATIONS = 2**30
"""Bytes: so large may one module's output be for the images that run together."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Averages over images and positions: of the pruned network's inputs x of a product and of what
    the dense network's product gave there, y = W x_dense.

    second: of x x^T; cross: of y x^T; x, y: of themselves. On the CPU, in double precision.
    """

    second: Float[Tensor, "g n n"]
    cross: Float[Tensor, "g o n"]
    x: Float[Tensor, "g n"]
    y: Float[Tensor, "g o"]

    def centred(self) -> "Moments":
        """Of x and y without their averages: what a layer gives apart from a constant."""
        return Moments(
            self.second - self.x[:, :, None] * self.x[:, None],
            self.cross - self.y[:, :, None] * self.x[:, None],
            torch.zeros_like(self.x),
            torch.zeros_like(self.y),
        )


def moments(rows: Sequence[Tensor], targets: Sequence[Tensor]) -> Moments:
    """The averages over all rows, g x r x n, and their targets, g x r x o."""
    count = sum(part.shape[1] for part in rows)
    pairs = list(zip(rows, targets, strict=True))
    return Moments(
        _average([x.mT @ x for x in rows], count),
        _average([y.mT @ x for x, y in pairs], count),
        _average([x.sum(1) for x in rows], count),
        _average([y.sum(1) for y in targets], count),
    )


def _average(parts: Sequence[Tensor], count: int) -> Tensor:
    return torch.stack([part.cpu().double() for part in parts]).sum(0) / count


Changed = Callable[[Product, Moments], None]
"""Changes the weights of a product, and its bias, in place."""


class _Stop(Exception):
    """The rest of the pass is not needed."""


class _Dense:
    """What each product of the dense network gives on the images, in order of execution."""

    def __init__(
        self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches, where: torch.device
    ) -> None:
        work = skeleton(model).eval()
        known = products(work, layers)
        self._targets: dict[str, list[Tensor]] = {}
        self.inputs = _batches_together(work, [x for x, _ in batches], where)
        with seen_calls(known, self._note):
            for x in self.inputs:
                call_in_training(work, x)

    def of(self, product: Product) -> list[Tensor] | None:
        """Its outputs by batch; None where it did not run exactly once in each."""
        given = self._targets.get(_key(product), [])
        return given if len(given) == len(self.inputs) else None

    def _note(self, product: Product, called: Mapping[str, Any]) -> None:
        if product.inputs > MOST_INPUTS:
            raise PruningError(
                f"{product.layer.name} has {product.inputs:,} inputs per output; this repair reads "
                f"at most {MOST_INPUTS:,}: choose another repair."
            )
        weight = product.matrices(product.weight).float()
        given = product.rows(called) @ weight.mT
        self._targets.setdefault(_key(product), []).append(given)


class _Pruned:
    """Runs the pruned network until each product is changed."""

    def __init__(self, work: nn.Module, dense: _Dense, changed: Changed) -> None:
        self._work = work
        self._count = 0
        self._dense = dense
        self._changed = changed
        self._done = set[str]()
        self._rows: list[Tensor] = []
        self._current: str | None = None

    def run(self, known: Sequence[Product]) -> None:
        """One pass where all images run together; else for each product all up to it."""
        self._count = len(known)
        with seen_calls(known, self._reached):
            while len(self._done) < len(known):
                before = len(self._done)
                self._current = None
                self._rows = []
                for x in self._dense.inputs:
                    self._call(x)
                if len(self._done) == before:  # the others do not run in this network
                    return

    def _call(self, x: Inputs) -> None:
        try:
            call_in_training(self._work, x)
        except _Stop:
            return

    def _reached(self, product: Product, called: Mapping[str, Any]) -> None:
        key = _key(product)
        if key in self._done:
            return
        if self._current not in (None, key):
            raise _Stop
        self._current = key
        self._rows.append(product.rows(called))
        if len(self._rows) < len(self._dense.inputs):
            raise _Stop
        targets = self._dense.of(product)
        assert targets is not None
        self._changed(product, moments(self._rows, targets))
        self._done.add(key)
        if len(self._done) == self._count:
            raise _Stop
        if len(self._dense.inputs) == 1:  # the pass goes on to the next product
            self._current = None
            self._rows = []


def change_in_order(
    work: nn.Module,
    dense: nn.Module,
    layers: tuple[Layer, ...],
    batches: Batches,
    changed: Changed,
) -> None:
    """Calls `changed` once for each product of the pruned network `work`, in order of execution.

    Products that do not run exactly once in a forward pass are left out. Images run together where
    the largest output of a module then takes `MOST_ACTIVATIONS` bytes at most; else in parts, each
    of them once per product. Raises PruningError for a layer with too many inputs.
    """
    where = next(work.parameters()).device
    with torch.no_grad(), PlainKernels():
        answers = _Dense(dense, layers, batches, where)
        known = [each for each in products(work, layers) if answers.of(each) is not None]
        _Pruned(work, answers, changed).run(known)


def _key(product: Product) -> str:
    return f"{product.layer.name} {product.start}"


def _batches_together(
    work: nn.Module, batches: Sequence[Inputs], where: torch.device
) -> list[Inputs]:
    """The samples in one batch where memory allows it, else in as few batches as it allows."""
    on_device = [to_device(x, where) for x in batches]
    together = _concatenated(on_device)
    if together is None:
        return on_device
    count = sample_count(together)
    most = max(2, MOST_ACTIVATIONS // _largest_output(work, sample_range(together, 0, 1)))
    parts = -(-count // most)
    size = -(-count // parts)
    return [sample_range(together, at, min(at + size, count)) for at in range(0, count, size)]


def _concatenated(batches: Sequence[Inputs]) -> Inputs | None:
    """All samples as one batch; None where samples of different batches differ in shape."""
    first = batches[0]
    parts = [input_tensors(x) for x in batches]
    if any(t.shape[1:] != f.shape[1:] for x in parts for t, f in zip(x, parts[0], strict=True)):
        return None
    joined = [torch.cat(tensors) for tensors in zip(*parts, strict=True)]
    if isinstance(first, Tensor):
        return joined[0]
    return dict(zip(first, joined, strict=True)) if isinstance(first, Mapping) else tuple(joined)


def _largest_output(work: nn.Module, x: Inputs) -> int:
    """The bytes of the largest output of a module without modules inside, for this batch."""
    sizes = [1]

    def note(_module: nn.Module, _args: Any, out: Any) -> None:
        if isinstance(out, Tensor):
            sizes.append(out.nbytes)

    with ExitStack() as hooks:
        for module in work.modules():
            if not any(module.children()):
                hooks.callback(module.register_forward_hook(note).remove)
        call_in_training(work, x)
    return max(sizes)
