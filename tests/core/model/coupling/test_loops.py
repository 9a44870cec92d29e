"""Couplings of a network that reads the same weights at every step of a loop."""

import pytest
import torch
from torch import Tensor, nn

from pruning_core.model.coupling.first_run import ChannelRead
from pruning_core.model.coupling.trace import couplings
from pruning_core.model.inventory import inventory


class Loop(nn.Module):
    """Its middle layer reads the same channels 20 times."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.again = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for _ in range(20):
            x = torch.relu(x + self.again(x))
        return self.head(x)


def test_equal_reads_of_a_loop_are_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = list[ChannelRead]()
    overlaps = ChannelRead.overlaps

    def counted(read: ChannelRead, other: ChannelRead) -> bool:
        compared.append(other)
        return overlaps(read, other)

    monkeypatch.setattr(ChannelRead, "overlaps", counted)
    model = Loop().eval()
    assert couplings(model, inventory(model, (4,)), (4,))
    assert 0 < len(compared) < 20
