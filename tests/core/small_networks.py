"""Networks of the zoo for 8 x 8 images, with random weights that a seed fixes."""

import torch
from torch import nn

from pruning_core.zoo.models import ARCHITECTURES

SHAPE = (1, 8, 8)


def built(name: str = "lenet_300_100", seed: int = 0) -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return ARCHITECTURES[name].build(SHAPE, 10).eval()


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
