"""Weights of a pruned network as a safetensors file."""

from safetensors.torch import save
from torch import nn


def weights_safetensors(model: nn.Module) -> bytes:
    """A safetensors file of the whole `state_dict`. Removed weights are zero.

    Each tensor is written in full: a tied weight is written under each of its names.
    """
    tensors = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in model.state_dict().items()
    }
    return save(tensors)
