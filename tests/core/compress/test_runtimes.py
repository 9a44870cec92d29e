"""Each runtime computes a small network with named inputs as PyTorch does."""

import pytest
import torch
from torch import Tensor, nn

from pruning_core.compress.runtimes import RUNTIMES, first_output, prepared, unavailable
from pruning_core.compress.thin_network import TOLERANCE, relative_error

CPU = torch.device("cpu")


class Sum(nn.Module):
    """Reads two named inputs that differ in what they do."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 12).reshape(3, 4))

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return one @ self.weight.t() - 2 * other


@pytest.mark.parametrize("name", [name for name in RUNTIMES if name != "eager"])
def test_a_runtime_gives_the_outputs_of_pytorch(name: str) -> None:
    entry = RUNTIMES[name]
    if (reason := unavailable(entry, CPU)) is not None:
        pytest.skip(reason)
    model = Sum().eval()
    x = {"other": torch.linspace(0, 1, 6).reshape(2, 3), "one": torch.ones(2, 4)}
    want = first_output(prepared(RUNTIMES["eager"], model, x)())
    got = first_output(prepared(entry, model, x)())
    assert relative_error([got], [want]) <= TOLERANCE
