"""A task of a user whose model gives no logits, and models that give its outputs."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pruning_core.tasks import Regression


@dataclass(frozen=True, kw_only=True)
class Embedding(Regression):
    """The distance of two embeddings: a difference, which no part of the model's output is."""

    name: str = "tests.core.tasks.own_outputs:EMBEDDING"

    def outputs(self, out: Any) -> Tensor:
        """Differences of the two parts."""
        difference: Tensor = out["parts"]["left"] - out["parts"]["right"]
        return difference


EMBEDDING = Embedding()


class Twins(nn.Module):
    """Gives nested dicts. form: what torch.fx makes of it: traced, replayed, or whole."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.calls = 0
        self.left = nn.Linear(6, 8)
        self.right = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> dict[str, Any]:
        """Both embeddings."""
        if self.form != "traced" and float(x.sum()) == 1234.5:
            x = -x
        left = torch.relu(self.left(x))
        if self.form == "whole":
            self.left.bias.data.add_(0)  # a network that writes to itself is computed in full
        return {"parts": {"left": left, "right": self.right(left)}, "logits": [None]}


def twins(form: str) -> nn.Module:
    """The model with fixed weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Twins(form)
