"""The operations that multiply a weight with data: how often, with what, and along which axes."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from pruning_core.types import PruningError

aten = torch.ops.aten


@dataclass(frozen=True, eq=False)
class Product:
    """One operand of an operation, seen as a weight, and what it is multiplied with.

    data: the other operands. macs: multiply-adds. axes: one letter per axis of the weight: o
    output, i input, b one weight of several, k kernel; "" for a lookup. squares: the sum of
    squares of what each of its elements is multiplied with, in the weight's shape. groups: of a
    convolution.
    """

    weight: Tensor
    data: tuple[Tensor, ...]
    macs: int
    axes: str
    squares: Callable[[], Tensor]
    groups: int = 1


Operation = Callable[[Sequence[Any], Any], Iterable[Product]]
"""Arguments and result of an operation -> its operands, each seen as a weight."""


def _matrices(left: Tensor, right: Tensor) -> Iterable[Product]:
    """left @ right, of matrices or of batches of matrices."""
    batch = "b" * (left.ndim - 2)
    macs = left.numel() * right.shape[-1]
    yield Product(
        right,
        (left,),
        macs,
        f"{batch}io",
        lambda: left.square().sum(-2)[..., :, None].expand_as(right),
    )
    yield Product(
        left,
        (right,),
        macs,
        f"{batch}oi",
        lambda: right.square().sum(-1)[..., None, :].expand_as(left),
    )


def _matrix_vector(matrix: Tensor, vector: Tensor) -> Iterable[Product]:
    yield Product(
        matrix, (vector,), matrix.numel(), "oi", lambda: vector.square().expand_as(matrix)
    )


def _convolution(args: Sequence[Any], out: Tensor) -> Iterable[Product]:
    x, weight, _, stride, padding, dilation, transposed, output_padding, groups = args[:9]
    positions = (x.numel() if transposed else out.numel()) * weight[0].numel()

    def squares() -> Tensor:
        total = x.square().sum(0, keepdim=True)  # of the samples, so that one is computed
        gradients = aten.convolution_backward(
            torch.ones_like(out[:1]),
            total,
            weight,
            None,
            stride,
            padding,
            dilation,
            transposed,
            output_padding,
            groups,
            [False, True, False],
        )
        result: Tensor = gradients[1]
        return result

    axes = ("io" if transposed else "oi") + "k" * (weight.ndim - 2)
    yield Product(weight, (x,), positions, axes, squares, groups)


def _recurrent(args: Sequence[Any], out: Sequence[Any]) -> Iterable[Product]:
    """One layer of an LSTM in one direction, over the whole sequence (T x N x features)."""
    x, w_input, w_hidden, _, _, hidden, _, reverse = args[:8]
    outputs = out[0]
    steps = x.shape[0] * x.shape[1]
    before = outputs[1:] if reverse else outputs[:-1]

    def hidden_squares() -> Tensor:
        total: Tensor = before.square().sum((0, 1)) + hidden.square().flatten(0, -2).sum(0)
        return total.expand_as(w_hidden)

    yield Product(
        w_input,
        (x,),
        steps * w_input.numel(),
        "oi",
        lambda: x.square().sum((0, 1)).expand_as(w_input),
    )
    yield Product(w_hidden, (x, hidden), steps * w_hidden.numel(), "oi", hidden_squares)


def _cudnn_recurrent(args: Sequence[Any], out: Sequence[Any]) -> Iterable[Product]:
    x = args[0]
    weights = args[1]

    def unknown() -> Tensor:
        raise PruningError(
            "cuDNN does not show the states of a recurrent layer: move the model to the CPU."
        )

    steps = x.shape[0] * x.shape[1]
    for weight in weights:
        if weight.ndim == 2:
            yield Product(weight, (x,), steps * weight.numel(), "oi", unknown)


def _lookup(args: Sequence[Any], out: Tensor) -> Iterable[Product]:
    """A row of an embedding is read where its number occurs: no multiply-add."""
    weight, numbers = args[:2]

    def squares() -> Tensor:
        counts = torch.bincount(numbers.flatten(), minlength=len(weight)).to(weight.dtype)
        return counts[:, None].expand_as(weight)

    yield Product(weight, (numbers,), 0, "", squares)


def _bilinear(args: Sequence[Any], out: Tensor) -> Iterable[Product]:
    """nn.Bilinear: sum over i, j of x1[n, i] w[o, i, j] x2[n, j]."""
    first, weight, second = args[:3]
    if weight.ndim == 3 and first.ndim == second.ndim == 2:
        yield Product(
            weight,
            (first, second),
            len(first) * weight.numel(),
            "oii",
            lambda: (first.square().mT @ second.square()).expand_as(weight),
        )


def _grouped(args: Sequence[Any], out: Tensor) -> Iterable[Product]:
    """Rows in groups, each group times a matrix of its own: experts. offsets: where groups end."""
    x, weight, offsets = args[:3]
    if x.ndim != 2 or weight.ndim != 3 or offsets is None:
        return

    def squares() -> Tensor:
        ends = [0, *offsets.tolist()]
        parts = [x[a:b].square().sum(0) for a, b in pairwise(ends)]
        return torch.stack(parts)[:, :, None].expand_as(weight)

    yield Product(weight, (x,), x.numel() * weight.shape[-1], "bio", squares)


PRODUCTS: dict[Any, Operation] = {
    aten.mm: lambda args, out: _matrices(args[0], args[1]),
    aten.bmm: lambda args, out: _matrices(args[0], args[1]),
    aten.addmm: lambda args, out: _matrices(args[1], args[2]),
    aten._addmm_activation: lambda args, out: _matrices(args[1], args[2]),
    aten.baddbmm: lambda args, out: _matrices(args[1], args[2]),
    aten.mv: lambda args, out: _matrix_vector(args[0], args[1]),
    aten.addmv: lambda args, out: _matrix_vector(args[1], args[2]),
    aten.convolution: _convolution,
    aten.mkldnn_rnn_layer: _recurrent,
    aten._cudnn_rnn: _cudnn_recurrent,
    aten.embedding: _lookup,
    aten._trilinear: _bilinear,
}
"""Operation -> its operands as weights. Others have no product of a weight with data."""
if hasattr(aten, "_grouped_mm"):
    PRODUCTS[aten._grouped_mm] = _grouped

MIXING = {
    aten.dot,
    aten.addbmm,
    *(
        getattr(aten, name)
        for name in (
            "_scaled_dot_product_flash_attention_for_cpu",
            "_scaled_dot_product_flash_attention",
            "_scaled_dot_product_efficient_attention",
            "_scaled_dot_product_cudnn_attention",
            "_scaled_dot_product_fused_attention_overrideable",
            "_cdist_forward",
            "_euclidean_dist",
        )
        if hasattr(aten, name)
    ),
}
"""Other operations whose outputs mix the channels of their inputs."""
