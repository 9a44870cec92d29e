"""Which device computes, and the model made ready for it: CUDA, Apple MPS or the CPU."""

import os
import re
from copy import deepcopy

import torch
from torch import nn

from pruning_core.types import PruningError

VARIABLE = "PRUNING_EXPLORER_DEVICE"


def choose_device(device: torch.device | str | None = None) -> torch.device:
    """That device, else the one in PRUNING_EXPLORER_DEVICE, else CUDA, MPS, CPU in this order.

    Raises PruningError for a device that this machine does not have.
    """
    wanted = str(device) if device else os.environ.get(VARIABLE) or None
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if wanted is None:
        return torch.device(next(kind for kind, there in available.items() if there))
    if not re.fullmatch(r"\w+(:\d+)?", wanted) or not available.get(wanted.split(":")[0], False):
        raise PruningError(
            f"Device '{wanted}' is not available here; use one of {[k for k, ok in available.items() if ok]}."
        )
    return torch.device(wanted)


def ready(model: nn.Module, device: torch.device) -> nn.Module:
    """The model itself if it is in eval mode on the device already, else a copy that is: the input
    never changes.
    """
    there = all(
        tensor.device.type == device.type for tensor in (*model.parameters(), *model.buffers())
    )
    if there and not any(module.training for module in model.modules()):
        return model
    return deepcopy(model).to(device).eval()
