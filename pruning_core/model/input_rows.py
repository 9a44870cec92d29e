"""What a layer's weights are multiplied with, as rows: one row per sample and position."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from pruning_core.model.graph import skeleton
from pruning_core.model.inventory import oihw
from pruning_core.model.inventory.reads import PlainKernels
from pruning_core.model.model_io import call, named_inputs, to_device
from pruning_core.types import Batches, Layer
from pruning_core.user_code import user_code

PLAIN = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Modules that multiply their input with their weight. Their subclasses may change more."""
PROJECTIONS = {"q_proj_weight": "query", "k_proj_weight": "key", "v_proj_weight": "value"}
MOST_ROWS = 2**15
MOST_VALUES = 2**26
"""The most rows, and the most values in them, that are read; of more, positions are sampled."""
MOST_INPUTS = 8192
"""Of one output: the second moments of its inputs then take 512 MiB."""
READING = "Reading the activations of the network"
DAMPING = 0.01
"""SparseGPT's share of the mean of the diagonal."""
Arguments = Mapping[str, Any]
Reader = Callable[[Arguments], Tensor]


@dataclass(frozen=True, eq=False)
class WeightMatrices:
    """Weights of a layer as g matrices, o x n, each of which multiplies rows of n inputs.

    All of the layer's weights, or one of the three projections of a packed attention.
    weight: the layer's parameter. module: its call shows the inputs.
    reader: arguments of the call -> rows, g x r x n. start: the first output; outputs: how many.
    """

    layer: Layer
    weight: nn.Parameter
    module: nn.Module
    reader: Reader
    start: int
    outputs: int

    @property
    def groups(self) -> int:
        """The number of matrices: of a grouped convolution its groups."""
        return self.layer.groups

    @property
    def inputs(self) -> int:
        """The number of inputs of one output."""
        return self.layer.numel // self.layer.shape[0]

    def matrices(self, values: Tensor) -> Shaped[Tensor, "g o n"]:
        """This part of values of the layer, in the OIHW view or in the parameter's own shape."""
        whole = values if tuple(values.shape) == self.layer.shape else oihw(values, self.layer)
        own = whole[self.start : self.start + self.outputs]
        return own.reshape(self.groups, self.outputs // self.groups, self.inputs)

    def write(self, matrices: Float[Tensor, "g o n"]) -> None:
        """Writes this part of the layer's weights, in place."""
        own = oihw(self.weight, self.layer)[self.start : self.start + self.outputs]
        own.copy_(matrices.reshape(own.shape))

    def rows(self, called: Arguments) -> Float[Tensor, "g r n"]:
        """The inputs in a call, of the same places in every call with inputs of these shapes."""
        return self.reader(called).detach().float()


def weight_matrices(
    model: nn.Module, layers: tuple[Layer, ...], *, changed_weights: bool = False
) -> list[WeightMatrices]:
    """The weight matrices of the layers whose inputs are known.

    Linear, convolutions and the projections of nn.MultiheadAttention. Left out: weights that
    several modules read and transposed convolutions.
    changed_weights: also modules with a forward method of their own, such as one that standardises
    the weights first; the rows are the inputs of the module.
    """
    return [product for layer in layers for product in _of_layer(model, layer, changed_weights)]


def _of_layer(model: nn.Module, layer: Layer, changed_weights: bool) -> Iterator[WeightMatrices]:
    if layer.aliases or layer.layout:
        return
    module = model.get_submodule(layer.module)
    weight = model.get_parameter(layer.name)
    if layer.fused:
        yield from _of_attention(module, weight, layer)
    elif layer.name.rpartition(".")[::2] == (layer.module, "weight") and (
        is_plain(module) or (changed_weights and isinstance(module, PLAIN))
    ):
        read = _conv_rows if isinstance(module, nn.modules.conv._ConvNd) else _linear_rows
        yield WeightMatrices(layer, weight, module, partial(read, module), 0, layer.shape[0])


def is_plain(module: nn.Module) -> bool:
    """Does the module multiply its input with its weight, and nothing else?"""
    return any(type(module).forward is kind.forward for kind in PLAIN)


def _of_attention(
    module: nn.Module, weight: nn.Parameter, layer: Layer
) -> Iterator[WeightMatrices]:
    outputs = layer.shape[0]
    if layer.kind == "attention_in":
        for place, name in enumerate(PROJECTIONS.values()):
            reader = partial(_named_rows, name)
            yield WeightMatrices(layer, weight, module, reader, place * outputs // 3, outputs // 3)
    elif layer.kind == "attention_proj":
        name = PROJECTIONS[layer.name.rpartition(".")[2]]
        yield WeightMatrices(layer, weight, module, partial(_named_rows, name), 0, outputs)
    elif layer.kind == "attention_out":
        # A copy before hooks: a copy of a module with hooks would have these too.
        yield WeightMatrices(
            layer, weight, module, partial(_head_rows, skeleton(module)), 0, outputs
        )


@contextmanager
def seen_calls(
    known: Sequence[WeightMatrices], note: Callable[[WeightMatrices, Arguments], None]
) -> Iterator[None]:
    """Calls `note` before every call of a product's module, with its arguments by name."""

    def hook(product: WeightMatrices, module: nn.Module, args: Any, kwargs: Any) -> None:
        note(product, named_inputs(module, args, kwargs))

    with ExitStack() as hooks:
        for product in known:
            handle = product.module.register_forward_pre_hook(
                partial(hook, product), with_kwargs=True
            )
            hooks.callback(handle.remove)
        yield


def second_moments(
    model: nn.Module, layers: tuple[Layer, ...], batches: Batches
) -> list[tuple[WeightMatrices, Float[Tensor, "g n n"]]]:
    """The mean of x x^T over images and positions, of each product's inputs x.

    Only of matrices that the pass reads. On the CPU, in double precision.
    """
    work = skeleton(model).eval()
    known = weight_matrices(work, layers, changed_weights=True)
    sums: dict[int, Tensor] = {}
    counts: dict[int, int] = {}

    def note(product: WeightMatrices, called: Arguments) -> None:
        x = product.rows(called)
        key = id(product)
        sums[key] = sums.get(key, 0) + (x.mT @ x).cpu().double()
        counts[key] = counts.get(key, 0) + x.shape[1]

    where = next(work.parameters()).device
    with torch.no_grad(), PlainKernels(), user_code(READING):
        with seen_calls(known, note):
            for x, _ in batches:
                call(work, to_device(x, where))
        return [(each, sums[id(each)] / counts[id(each)]) for each in known if id(each) in sums]


def damping(second: Float[Tensor, "g n n"]) -> Float[Tensor, "g 1 1"]:
    """What is added to the diagonal of second moments; 1 where all inputs are zero."""
    mean = second.diagonal(dim1=1, dim2=2).mean(1)
    return torch.where(mean > 0, DAMPING * mean, 1.0)[:, None, None]


def damped(second: Float[Tensor, "g n n"]) -> Float[Tensor, "g n n"]:
    """Second moments with damping on the diagonal, so that they can be inverted."""
    return second + damping(second) * torch.eye(second.shape[1], dtype=second.dtype)


def _linear_rows(module: nn.Module, called: Arguments) -> Tensor:
    return _sampled(next(iter(called.values())))


def _named_rows(name: str, called: Arguments) -> Tensor:
    return _sampled(called[name])


def _head_rows(bare: nn.Module, called: Arguments) -> Tensor:
    return _sampled(head_outputs(bare, called))


def head_outputs(bare: nn.Module, called: Arguments) -> Tensor:
    """The outputs of an attention's heads side by side: the inputs of its output projection.

    They are what the attention gives with the identity as its output projection.
    """
    weight = bare.get_parameter("out_proj.weight")
    changed = {"out_proj.weight": torch.eye(len(weight), device=weight.device, dtype=weight.dtype)}
    changed |= {
        name: torch.zeros_like(value)
        for name, value in bare.named_parameters()
        if name == "out_proj.bias"
    }
    heads: Tensor = functional_call(bare, changed, (), dict(called))[0]
    return heads


def _sampled(x: Tensor) -> Tensor:
    """The features of every sample and token, or of some of them."""
    rows = x.reshape(-1, x.shape[-1])
    return rows[_some(len(rows), _most_rows(rows.shape[1]), rows.device)][None]


def _conv_rows(module: nn.Module, called: Arguments) -> Tensor:
    """The unfolded inputs of a convolution, of every position or of some of them."""
    assert isinstance(module, nn.modules.conv._ConvNd)
    x = next(iter(called.values()))
    x = x[None] if x.ndim == len(module.kernel_size) + 1 else x
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    x = functional.pad(x, module._reversed_padding_repeated_twice, mode)
    settings = zip(x.shape[2:], module.kernel_size, module.stride, module.dilation, strict=True)
    starts: list[Tensor] = []
    offsets: list[Tensor] = []
    for size, kernel, stride, dilation in settings:
        starts.append(torch.arange(0, size - dilation * (kernel - 1), stride))
        offsets.append(torch.arange(kernel) * dilation)
    first = _flat(starts, x.shape[2:])
    kernel_places = _flat(offsets, x.shape[2:])
    most = _most_rows(x.shape[1] * len(kernel_places)) // len(x)
    chosen = first[_some(len(first), most, first.device)]
    places = (chosen[:, None] + kernel_places).to(x.device)
    unfolded = x.flatten(2).index_select(2, places.flatten())  # twice as fast as x[:, :, places]
    return rearrange(
        unfolded, "b (g c) (p k) -> g (b p) (c k)", g=module.groups, k=len(kernel_places)
    )


def _flat(axes: list[Tensor], sizes: torch.Size) -> Int[Tensor, " p"]:
    """The places of a grid, one tensor of coordinates per axis, in the flat array of `sizes`."""
    places = torch.zeros(1, dtype=torch.long)
    for axis, size in zip(axes, sizes, strict=True):
        places = (places[:, None] * size + axis).flatten()
    return places


def _most_rows(inputs: int) -> int:
    return min(MOST_ROWS, MOST_VALUES // inputs)


def _some(count: int, most: int, device: torch.device) -> Tensor:
    """At most `most` numbers below `count`, at least one: random, always the same, sorted."""
    if count <= most:
        return torch.arange(count, device=device)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return order[: max(most, 1)].sort().values.to(device)
