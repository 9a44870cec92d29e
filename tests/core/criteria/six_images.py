"""Six images in two batches, and small networks that classify them."""

import torch
from torch import nn

from pruning_core.model.inventory import inventory
from pruning_core.types import Layer
from pruning_core.zoo.models import ARCHITECTURES

RNG = torch.Generator().manual_seed(7)
X = torch.randn(6, 1, 8, 8, generator=RNG)
Y = torch.arange(6)
BATCHES = [(X[:4], Y[:4]), (X[4:], Y[4:])]


def network(arch: str = "lenet5") -> tuple[nn.Module, tuple[Layer, ...]]:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = ARCHITECTURES[arch].build((1, 8, 8), 10).eval()
    return model, inventory(model, (1, 8, 8))
