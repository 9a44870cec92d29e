"""Networks in other floating-point types than float32: float16, bfloat16, float64."""

from itertools import chain

import torch
from torch import Tensor, nn

from pruning_core.model.model_io import Model, copy_model

HALVES = (torch.float16, torch.bfloat16)


def in_float32(model: Model) -> Model:
    """The model itself if it computes in float32, else a copy of it that does.

    In half precision small gradients become zero and large products infinite, so that scores would
    rank by position.
    """
    types = {tensor.dtype for tensor in _floats(model)}
    return model if types <= {torch.float32} else copy_model(model).float()


def computes_in_half(model: nn.Module) -> bool:
    """Has the model a parameter or buffer of half precision?"""
    return any(tensor.dtype in HALVES for tensor in _floats(model))


def types_of(model: nn.Module) -> dict[str, torch.dtype]:
    """The floating-point types of the parameters and buffers, by name."""
    return {name: tensor.dtype for name, tensor in _named(model) if tensor.is_floating_point()}


def set_types(model: Model, types: dict[str, torch.dtype]) -> Model:
    """Gives the model's own parameters and buffers these types (`types_of`)."""
    for name, tensor in _named(model):
        if name in types:
            tensor.data = tensor.data.to(types[name])
    return model


def _named(model: nn.Module) -> chain[tuple[str, Tensor]]:
    return chain(model.named_parameters(), model.named_buffers())


def _floats(model: nn.Module) -> list[Tensor]:
    return [tensor for _, tensor in _named(model) if tensor.is_floating_point()]
