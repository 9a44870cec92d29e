"""Weights of a pruned network as a safetensors file."""

from safetensors.torch import save
from torch import nn

from pruning_core.model.model_io import tensors_of


def weights_safetensors(model: nn.Module) -> bytes:
    """A safetensors file of the whole `state_dict`. Removed weights are zero.

    Each tensor is written in full: a tied weight is written under each of its names. What modules
    keep beside tensors (`get_extra_state`) is left out.
    """
    tensors = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in tensors_of(model).items()
    }
    return save(tensors)
