"""Linear layers in 2:4 on a GPU: of each four weights in a row, two are stored and computed."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pruning_core.model.model_io import copy_model, input_tensors
from pruning_core.types import Inputs, PruningError
from pruning_core.user_code import user_code

CAPABILITY = (8, 0)
"""The first NVIDIA GPUs that compute 2:4."""
ROWS = 32
COLUMNS = 64
"""The kernels for float16 take outputs and inputs in multiples of these."""


class TwoFourLinear(nn.Module):
    """A Linear whose weight is packed as 2:4 in float16. Inputs are converted at each call.

    Mishra et al. 2021, arXiv:2104.08378.
    """

    def __init__(self, dense: Any) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch says that this interface may change
            weight = dense.weight.detach().half().contiguous()
            self.weight = torch.sparse.to_sparse_semi_structured(weight)
        self.bias = None if dense.bias is None else dense.bias.detach().half()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = functional.linear(x.half(), self.weight, self.bias)
        return out.to(x.dtype)


def two_four(masked: nn.Module, x: Inputs) -> nn.Module:
    """A copy of the network with every Linear that fits in 2:4.

    Raises PruningError where the device has no such kernels, and where no Linear fits.
    """
    device = input_tensors(x)[0].device
    if (reason := no_kernels_on(device)) is not None:
        raise PruningError(reason)
    names = fitting_layers(masked)
    if not names:
        raise PruningError(
            f"No Linear has the pattern 2:4, outputs that {ROWS} divides and inputs that {COLUMNS} "
            "divides."
        )
    work = copy_model(masked).eval()
    with user_code("Packing 2:4"):
        for name in names:
            work.set_submodule(name, TwoFourLinear(work.get_submodule(name)))
    return work


def no_kernels_on(device: torch.device) -> str | None:
    """Why 2:4 saves no time on the device; None where it has kernels."""
    needed = f"an NVIDIA GPU of compute capability {CAPABILITY[0]}.{CAPABILITY[1]} or newer"
    if device.type != "cuda":
        return f"It needs {needed}; here the network is computed on {device.type}."
    major, minor = torch.cuda.get_device_capability(device)
    if (major, minor) < CAPABILITY:
        return f"It needs {needed}; this one has {major}.{minor}."
    return None


def fitting_layers(model: nn.Module) -> list[str]:
    """The Linear layers whose weight can be packed without loss."""
    return [
        name
        for name, module in model.named_modules()
        if type(module) is nn.Linear and fits(module.weight.detach())
    ]


def fits(weight: Tensor) -> bool:
    """Has the weight the kernels' shape, and at most two nonzeros in each four along a row?"""
    rows, columns = weight.shape
    if rows % ROWS or columns % COLUMNS:
        return False
    return bool(((weight != 0).unflatten(1, (-1, 4)).sum(-1) <= 2).all())
