"""Linear layers in int8 with sparse blocks of 1 x 4, by torch's QNNPACK kernels."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pruning_core.model.model_io import copy_model
from pruning_core.types import Inputs, PruningError
from pruning_core.user_code import user_code

ENGINE = "qnnpack"
BLOCK = (1, 4)


class Int8Linear(nn.Module):
    """A Linear whose weight is int8 in blocks of 1 x 4; inputs are quantised at each call.

    Blocks of zeros are neither stored nor computed. The outputs differ by about a percent.
    """

    def __init__(self, dense: Any) -> None:
        super().__init__()
        weight = dense.weight.detach()
        scale = max(float(weight.abs().max()) / 127, 1e-12)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch says that these tensors are deprecated
            quantised = torch.quantize_per_tensor(weight, scale, 0, torch.qint8)
        bias = torch.zeros(dense.out_features) if dense.bias is None else dense.bias.detach()
        with qnnpack():
            self.packed = torch.ops.sparse.qlinear_prepack(quantised, bias, *BLOCK)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        with qnnpack():
            out: Tensor = torch.ops.sparse.qlinear_dynamic(flat, self.packed)
        return out.reshape(*x.shape[:-1], -1)


@contextmanager
def qnnpack() -> Iterator[None]:
    """The kernels of QNNPACK inside the block; the process's own engine after it."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = ENGINE
    try:
        yield
    finally:
        torch.backends.quantized.engine = before


def int8_blocks(masked: nn.Module, _x: Inputs) -> nn.Module:
    """A copy of the network with every Linear in int8 blocks.

    Raises PruningError where it has none, and where this build of torch has no such kernels.
    """
    if ENGINE not in torch.backends.quantized.supported_engines:
        raise PruningError("This build of torch has no QNNPACK kernels.")
    names = [name for name, module in masked.named_modules() if type(module) is nn.Linear]
    if not names:
        raise PruningError("The network has no Linear layer.")
    work = copy_model(masked).eval()
    with user_code("Packing int8 blocks"):
        for name in names:
            work.set_submodule(name, Int8Linear(work.get_submodule(name)))
    return work
