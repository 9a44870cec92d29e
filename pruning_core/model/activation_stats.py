"""Statistics of the inputs of each weight and of the outputs of each layer on some images."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from pruning_core.model.graph import skeleton
from pruning_core.model.input_rows import PROJECTIONS, READING, head_outputs
from pruning_core.model.inventory import CONVOLUTIONS, oihw
from pruning_core.model.inventory.reads import PlainKernels, Read, WeightReads
from pruning_core.model.model_io import call, input_tensors, named_inputs, to_device
from pruning_core.types import Batches, Inputs, Layer, PruningError
from pruning_core.user_code import user_code

Arguments = dict[str, Any]
PLAIN = (nn.Linear, nn.Conv1d, nn.Conv2d)
"""Modules whose reads are seen by hooks. All others are seen by `WeightReads`."""


@dataclass(frozen=True, eq=False)
class OutputStats:
    """A layer's outputs over images and positions, after its batch norm if it has one.

    above: fraction above zero, which a ReLU lets through; mean: mean of max(output, 0).
    """

    above: Float[Tensor, " o"]
    mean: Float[Tensor, " o"]


def input_norms(
    model: nn.Module, layers: tuple[Layer, ...], batches: Batches
) -> dict[str, Float[Tensor, "_o _i _h _w"]]:
    """||x_j|| per weight: root mean square over images of the L2 norm of what it is multiplied
    with.

    For a convolution it is the norm of a column of the unfolded input (with stride, padding,
    dilation and groups), for a linear layer that of a feature over the tokens, for attention that
    of the projections' own inputs. OIHW, on the CPU. Raises PruningError without batches.
    """
    work, device = _skeleton_and_device(model, batches)
    total = {layer.name: torch.zeros(layer.shape, dtype=torch.float64) for layer in layers}
    # Copies before hooks: a copy of a module with hooks would have these too and count its calls.
    pairs = [
        (layer, module, skeleton(module))
        for layer in layers
        for module in _owners(work, layer)
        if _has_plain_forward(module, layer)
    ]
    seen = _Calls()
    for layer, module, bare in pairs:
        seen.watch(module, layer)
        module.register_forward_pre_hook(
            _collector(total[layer.name], layer, bare), with_kwargs=True
        )
    others = _OtherReads(work, layers, total, seen)
    for x, _ in batches:
        others.run(to_device(x, device))
    images = sum(len(y) for _, y in batches)
    return {name: (squares / images).sqrt().float() for name, squares in total.items()}


class _Calls:
    """Which layers' modules run now: their reads are collected by hooks."""

    def __init__(self) -> None:
        self.running: list[str] = []

    def watch(self, module: nn.Module, layer: Layer) -> None:
        """Notes the calls of the module."""
        module.register_forward_pre_hook(lambda _module, _args: self.running.append(layer.name))
        module.register_forward_hook(lambda _module, _args, _out: self.running.remove(layer.name))


class _OtherReads:
    """Adds the squares of reads that happen outside of the calls that hooks see."""

    def __init__(
        self,
        work: nn.Module,
        layers: Sequence[Layer],
        total: Mapping[str, Tensor],
        seen: _Calls,
    ) -> None:
        self._work = work
        self._weights = {layer.name: work.get_parameter(layer.name) for layer in layers}
        self._layers = {layer.name: layer for layer in layers}
        self._total = total
        self._seen = seen

    def run(self, x: Inputs) -> None:
        """Runs one batch."""
        names = frozenset(self._layers)
        reads = WeightReads(self._weights, names, input_tensors(x), self._add)
        with torch.no_grad(), PlainKernels(), reads, user_code(READING):
            call(self._work, x)

    def _add(self, read: Read) -> None:
        layer = self._layers[read.parameter]
        lookup = not read.product.axes and layer.kind != "embedding"
        if read.parameter in self._seen.running or lookup:
            return
        self._total[layer.name].add_(oihw(read.squares(layer.numel), layer))


def output_stats(
    model: nn.Module, layers: tuple[Layer, ...], batches: Batches
) -> dict[str, OutputStats]:
    """How often and how much each output is above zero on the images.

    Raises PruningError without batches.
    """
    work, device = _skeleton_and_device(model, batches)
    sums = {layer.name: torch.zeros(3, layer.shape[0], dtype=torch.float64) for layer in layers}
    for layer in layers:
        for module in [work.get_submodule(layer.bn)] if layer.bn else _owners(work, layer):
            module.register_forward_hook(
                _counter(
                    sums[layer.name],
                    2 if layer.bn or layer.kind not in CONVOLUTIONS else len(layer.param_shape),
                    channel_first=layer.bn is not None or layer.kind in CONVOLUTIONS,
                )
            )
    _run(work, batches, device)
    means = {name: part / part[2].clamp_min(1) for name, part in sums.items()}
    return {name: OutputStats(mean[0].float(), mean[1].float()) for name, mean in means.items()}


def _skeleton_and_device(model: nn.Module, batches: Batches) -> tuple[nn.Module, torch.device]:
    if not batches:
        raise PruningError(
            "This criterion reads activations: give it at least one batch of images."
        )
    return skeleton(model).eval(), next(model.parameters()).device


def _run(work: nn.Module, batches: Batches, device: torch.device) -> None:
    with torch.no_grad(), PlainKernels(), user_code(READING):
        for x, _ in batches:
            call(work, to_device(x, device))


def _owners(work: nn.Module, layer: Layer) -> Iterator[nn.Module]:
    """The modules that read the weight, each once; a tied weight has several."""
    own = layer.name[len(layer.module) :]
    paths = [name.removesuffix(own) for name in (layer.name, *layer.aliases) if name.endswith(own)]
    modules = {id(module): module for module in map(work.get_submodule, paths)}
    yield from (module for module in modules.values() if not isinstance(module, nn.Embedding))


def _has_plain_forward(module: nn.Module, layer: Layer) -> bool:
    """Does the module multiply its input with its weight, and nothing else?

    Not where its class computes with the weight first, as weight-standardised convolutions do.
    """
    return layer.fused or any(type(module).forward is kind.forward for kind in PLAIN)


def _collector(total: Tensor, layer: Layer, bare: nn.Module) -> Callable[..., None]:
    """A hook that adds the squares of what each weight is multiplied with.

    bare: the module without hooks.
    """

    def collect(module: nn.Module, args: tuple[Any, ...], kwargs: Arguments) -> None:
        called = named_inputs(module, args, kwargs)
        total.add_(
            SQUARES.get(layer.kind if layer.fused else "", _squares)(layer, bare, called)
            .detach()
            .cpu()
            .view(layer.shape)
        )

    return collect


def _squares(layer: Layer, bare: nn.Module, called: Arguments) -> Tensor:
    """The sum of the squared inputs that each weight is multiplied with, for any stride.

    It is d/dW of the sum of the module's outputs for the input x^2. An input with fewer axes than
    the weight is one sample alone, such as a learned vector.
    """
    x = next(iter(called.values())).detach()
    x = x[None] if x.ndim < len(layer.param_shape) else x
    square = x.square().sum(0, keepdim=True)
    weight = torch.zeros(
        layer.param_shape, device=square.device, dtype=square.dtype
    ).requires_grad_()
    with torch.enable_grad():
        out = functional_call(bare, {"weight": weight}, (square,))
        return torch.autograd.grad(out.sum(), weight)[0]


def _of_features(x: Tensor, rows: int) -> Tensor:
    return x.detach().square().flatten(0, -2).sum(0).expand(rows, -1)


def _attention_in(layer: Layer, bare: nn.Module, called: Arguments) -> Tensor:
    rows = layer.shape[0] // 3
    return torch.cat([_of_features(called[name], rows) for name in ("query", "key", "value")])


def _attention_proj(layer: Layer, bare: nn.Module, called: Arguments) -> Tensor:
    return _of_features(called[PROJECTIONS[layer.name.rpartition(".")[2]]], layer.shape[0])


def _attention_out(layer: Layer, bare: nn.Module, called: Arguments) -> Tensor:
    return _of_features(head_outputs(bare, called), layer.shape[0])


SQUARES: dict[str, Callable[[Layer, nn.Module, Arguments], Tensor]] = {
    "attention_in": _attention_in,
    "attention_proj": _attention_proj,
    "attention_out": _attention_out,
}


def _counter(sums: Tensor, axes: int, *, channel_first: bool) -> Callable[..., None]:
    """A hook that sums, per output: how often it is above zero, max(output, 0), and the count.

    axes: the least number of axes of an output; with fewer it is that of one sample alone.
    """

    def count(_module: nn.Module, _args: Any, out: Tensor) -> None:
        out = out[None] if out.ndim < axes else out
        rows = (out.movedim(1, -1) if channel_first and out.ndim > 1 else out).flatten(0, -2)
        sums[0] += (rows > 0).sum(0).cpu()
        sums[1] += rows.clamp_min(0).sum(0, dtype=torch.float64).cpu()
        sums[2] += len(rows)

    return count
