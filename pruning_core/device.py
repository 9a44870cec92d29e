"""Which device computes: CUDA, Apple MPS or the CPU."""

import os

import torch

from pruning_core.types import PruningError

VARIABLE = "PRUNING_EXPLORER_DEVICE"


def choose_device(name: str | None = None) -> torch.device:
    """The named device, else the one in PRUNING_EXPLORER_DEVICE, else CUDA, MPS, CPU in this order.

    Raises PruningError for a device that this machine does not have.
    """
    wanted = name or os.environ.get(VARIABLE)
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted is None:
        return torch.device(next(kind for kind, there in available.items() if there))
    if not available.get(wanted.split(":")[0], False):
        raise PruningError(f"Device '{wanted}' is not available here; use one of {[k for k, ok in available.items() if ok]}.")
    return torch.device(wanted)
