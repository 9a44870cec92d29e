"""Optimizers and seeds give torch's own numbers. That they leave its compiler out of a process is
tested in tests/explorer/jobs/test_processes.py.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from pruning_core import random_numbers
from pruning_core.random_numbers import seed_torch
from pruning_core.training import optimizers

SETTINGS: dict[str, dict[str, Any]] = {
    "SGD": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "AdamW": {"lr": 0.1, "weight_decay": 0.01},
    "Adam": {"lr": 0.1},
}


def trained(kind: Any, settings: dict[str, Any]) -> list[Tensor]:
    """Two weights after each of four steps; after two, another optimizer takes over the state."""
    weights = [torch.tensor([1.0, -2.0], requires_grad=True) for _ in range(2)]
    found: list[Tensor] = []
    state = None
    for _ in range(2):
        optimizer = kind(weights[:1], **settings)
        optimizer.add_param_group({"params": weights[1:], "lr": 0.2})
        if state:
            optimizer.load_state_dict(state)
        for _ in range(2):
            optimizer.zero_grad()
            torch.cat(weights).pow(4).sum().backward()
            optimizer.step()
            found += [weight.detach().clone() for weight in weights]
        state = optimizer.state_dict()
    return found


@pytest.mark.parametrize("name", SETTINGS)
def test_an_optimizer_makes_the_steps_of_torchs(name: str) -> None:
    own = trained(getattr(optimizers, name), SETTINGS[name])
    theirs = trained(getattr(torch.optim, name), SETTINGS[name])
    assert all(map(torch.equal, own, theirs))
    assert len({tuple(weight.tolist()) for weight in own}) == len(own) == 8


@pytest.mark.parametrize("accelerator", [False, True])
def test_a_seed_gives_the_numbers_of_torchs(
    accelerator: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random_numbers, "_has_accelerator", lambda: accelerator)
    with torch.random.fork_rng([]):
        torch.manual_seed(7)
        numbers = torch.rand(3)
        seed_torch(7)
        assert torch.equal(torch.rand(3), numbers)
