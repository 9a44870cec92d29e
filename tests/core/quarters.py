"""A workspace that trains in a moment: the brightest quarter of a 6 x 6 image is its class."""

import torch
from torch import nn

from pruning_core.model.inventory import inventory
from pruning_core.types import Dataset
from pruning_core.workspaces import Workspace
from tests.core.toy import MemorySplit


def quarters(outputs: tuple[int, ...] | None = None) -> Workspace:
    """An untrained network and 80 images. With outputs, the classes are four of ten logits."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(80) % 4
    bright = torch.eye(4)[labels].view(80, 1, 2, 2).repeat_interleave(3, 2).repeat_interleave(3, 3)
    images = MemorySplit(torch.rand(80, 1, 6, 6, generator=rng) + bright, labels)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        norm = nn.BatchNorm2d(8)
        head = nn.Linear(128, 10 if outputs else 4)
        model = nn.Sequential(nn.Conv2d(1, 8, 3), norm, nn.ReLU(), nn.Flatten(), head).eval()
    data = Dataset("quarters", ("a", "b", "c", "d"), (1, 6, 6), images, images, images, outputs)
    return Workspace(model, data, inventory(model, (1, 6, 6)), ())
