"""Statistics of the inputs of each weight and of the outputs of each layer on some images."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from pruning_core.model.graph import skeleton
from pruning_core.model.inventory import CONVOLUTIONS
from pruning_core.model.model_io import call, named_inputs, to_device
from pruning_core.types import Batches, Layer, PruningError

Arguments = dict[str, Any]
PROJECTIONS = {"q_proj_weight": "query", "k_proj_weight": "key", "v_proj_weight": "value"}


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
        (layer, module, skeleton(module)) for layer in layers for module in _owners(work, layer)
    ]
    for layer, module, bare in pairs:
        module.register_forward_pre_hook(
            _collector(total[layer.name], layer, bare), with_kwargs=True
        )
    _run(work, batches, device)
    images = sum(len(y) for _, y in batches)
    return {name: (squares / images).sqrt().float() for name, squares in total.items()}


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
    with torch.no_grad():
        for x, _ in batches:
            call(work, to_device(x, device))


def _owners(work: nn.Module, layer: Layer) -> Iterator[nn.Module]:
    """The modules that read the weight, each once; a tied weight has several."""
    own = layer.name[len(layer.module) :]
    paths = (name.removesuffix(own) for name in (layer.name, *layer.aliases))
    yield from {id(module): module for module in map(work.get_submodule, paths)}.values()


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

    It is d/dW of the sum of the module's outputs for the input x^2.
    """
    square = next(iter(called.values())).detach().square().sum(0, keepdim=True)
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
    """As `_squares`, for the output projection of an attention.

    Its inputs are the heads' outputs side by side: what the attention gives with the identity as
    its output projection.
    """
    weight = bare.get_parameter("out_proj.weight")
    changed = {"out_proj.weight": torch.eye(len(weight), device=weight.device, dtype=weight.dtype)}
    changed |= {
        name: torch.zeros_like(value)
        for name, value in bare.named_parameters()
        if name == "out_proj.bias"
    }
    return _of_features(functional_call(bare, changed, (), called)[0], layer.shape[0])


SQUARES: dict[str, Callable[[Layer, nn.Module, Arguments], Tensor]] = {
    "attention_in": _attention_in,
    "attention_proj": _attention_proj,
    "attention_out": _attention_out,
}


def _counter(sums: Tensor, *, channel_first: bool) -> Callable[..., None]:
    """A hook that sums, per output: how often it is above zero, max(output, 0), and the count."""

    def count(_module: nn.Module, _args: Any, out: Tensor) -> None:
        rows = (out.movedim(1, -1) if channel_first and out.ndim > 1 else out).flatten(0, -2)
        sums[0] += (rows > 0).sum(0).cpu()
        sums[1] += rows.clamp_min(0).sum(0, dtype=torch.float64).cpu()
        sums[2] += len(rows)

    return count
