"""Changes a pruned network layer by layer, in order of execution, against the dense network.

The dense network runs once: what each product gave is kept, without the bias. Then the pruned
network runs on the same images. At each layer its inputs are read, as they are after the changes of
the layers before it; the layer is changed; then the pass continues from there.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pruning_core.model.graph import skeleton
from pruning_core.model.input_rows import MOST_INPUTS, WeightMatrices, seen_calls, weight_matrices
from pruning_core.model.inventory.reads import PlainKernels
from pruning_core.model.model_io import (
    joined_batches,
    sample_count,
    sample_range,
    sample_shapes,
    to_device,
)
from pruning_core.training.batch_norm import call_in_training
from pruning_core.types import Batches, Inputs, Layer, PruningError

ROUNDING = 1e-6
"""A smaller part of an input's second moment is rounding: products are in single precision."""
MOST_ACTIVATIONS = 2**30
"""Most bytes of one module's output, for the images that run together."""


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
        """Of x and y without their averages: what a layer gives apart from a constant.

        Inputs that are constant, except for rounding, are zero.
        """
        second = self.second - self.x[:, :, None] * self.x[:, None]
        before = self.second.diagonal(dim1=1, dim2=2)
        varies = second.diagonal(dim1=1, dim2=2) > ROUNDING * before
        return Moments(
            second * varies[:, :, None] * varies[:, None],
            (self.cross - self.y[:, :, None] * self.x[:, None]) * varies[:, None],
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


Changed = Callable[[WeightMatrices, Moments], None]
"""Changes the weights of a product, and its bias, in place."""


class _Stop(BaseException):
    """The rest of the pass is not needed. No handler of a model catches it."""


Targets = Mapping[str, Sequence[Tensor]]
"""What products of the dense network give: product (`_key`) -> its outputs by batch."""


def _dense_targets(work: nn.Module, layers: tuple[Layer, ...], inputs: Sequence[Inputs]) -> Targets:
    """The outputs of the products that run exactly once in each batch."""
    given: dict[str, list[Tensor]] = {}

    def note(product: WeightMatrices, called: Mapping[str, Any]) -> None:
        if product.inputs > MOST_INPUTS:
            raise PruningError(
                f"{product.layer.name} has {product.inputs:,} inputs per output; this repair reads "
                f"at most {MOST_INPUTS:,}: choose another repair."
            )
        weight = product.matrices(product.weight).float()
        given.setdefault(_key(product), []).append(product.rows(called) @ weight.mT)

    with seen_calls(weight_matrices(work, layers), note):
        for x in inputs:
            call_in_training(work, x)
    return {key: parts for key, parts in given.items() if len(parts) == len(inputs)}


class _Pruned:
    """Runs the pruned network until each product with targets is changed."""

    def __init__(self, inputs: Sequence[Inputs], targets: Targets, changed: Changed) -> None:
        self._inputs = inputs
        self._targets = targets
        self._changed = changed
        self._done = set[str]()
        self._rows: list[Tensor] = []
        self._current: str | None = None

    def run(self, work: nn.Module, layers: tuple[Layer, ...]) -> None:
        """One pass where all images run together; else for each product all up to it."""
        known = [each for each in weight_matrices(work, layers) if _key(each) in self._targets]
        with seen_calls(known, self._reached):
            while len(self._done) < len(known):
                before = len(self._done)
                self._next_product()
                for x in self._inputs:
                    self._call(work, x)
                if len(self._done) == before:  # the others do not run in this network
                    return

    def _call(self, work: nn.Module, x: Inputs) -> None:
        try:
            call_in_training(work, x)
        except _Stop:
            return

    def _next_product(self) -> None:
        self._current = None
        self._rows = []

    def _reached(self, product: WeightMatrices, called: Mapping[str, Any]) -> None:
        key = _key(product)
        if key in self._done:
            return
        if self._current not in (None, key):
            raise _Stop
        self._current = key
        self._rows.append(product.rows(called))
        if len(self._rows) < len(self._inputs):
            raise _Stop
        targets = self._targets[key]
        same = all(x.shape[1] == y.shape[1] for x, y in zip(self._rows, targets, strict=True))
        # An expert behind a gate may get other samples in the pruned network, or none.
        if same and any(x.shape[1] for x in self._rows):
            self._changed(product, moments(self._rows, targets))
        self._done.add(key)
        if len(self._done) == len(self._targets):
            raise _Stop
        if len(self._inputs) == 1:  # the pass continues to the next product
            self._next_product()


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
        bare = skeleton(dense).eval()
        inputs = _batches_together(bare, [to_device(x, where) for x, _ in batches])
        _Pruned(inputs, _dense_targets(bare, layers, inputs), changed).run(work, layers)


def _key(product: WeightMatrices) -> str:
    return f"{product.layer.name} {product.start}"


def _batches_together(work: nn.Module, batches: Sequence[Inputs]) -> Sequence[Inputs]:
    """The samples in one batch where memory allows it, else in as few batches as it allows.

    As they are where samples of different batches differ in shape.
    """
    if len({sample_shapes(x) for x in batches}) > 1:
        return batches
    together = joined_batches(batches)
    count = sample_count(together)
    most = max(2, MOST_ACTIVATIONS // _largest_output(work, sample_range(together, 0, 1)))
    parts = -(-count // most)
    size = -(-count // parts)
    return [sample_range(together, at, min(at + size, count)) for at in range(0, count, size)]


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
