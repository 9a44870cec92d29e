"""Which device computes (CUDA, Apple MPS or the CPU), and the model on that device."""

import os
import re

import torch
from torch import nn

from pruning_core.model.model_io import copy_model
from pruning_core.types import PruningError

VARIABLE = "PRUNING_EXPLORER_DEVICE"


def choose_device(device: torch.device | str | None = None) -> torch.device:
    """The given device, else the one in PRUNING_EXPLORER_DEVICE, else the first of CUDA, MPS and
    CPU.

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
            f"Device '{wanted}' is not available here; "
            f"use {' or '.join(kind for kind, there in available.items() if there)}."
        )
    return torch.device(wanted)


def on_device(model: nn.Module, device: torch.device) -> nn.Module:
    """The model in eval mode on the device: itself if it is that already, else a copy.

    The given model never changes.
    """
    there = all(
        tensor.device.type == device.type for tensor in (*model.parameters(), *model.buffers())
    )
    if there and not any(module.training for module in model.modules()):
        return model
    return copy_model(model).to(device).eval()
