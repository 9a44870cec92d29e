"""Traces by torch.fx of networks with parameters that no module of torch owns."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pruning_core.model.graph import skeleton, trace


class Bare(nn.Module):
    """Many parameters; the last is the first under another name, and is read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.ParameterList(nn.Parameter(torch.rand(4)) for _ in range(20))
        self.again = self.own[0]

    def forward(self, x: Tensor) -> Tensor:
        for own in self.own:
            x = x * own
        return x + self.again


def test_parameters_are_named_without_a_search_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    model = skeleton(Bare())
    asked = []
    search = nn.Module.named_parameters

    def counted(self: nn.Module, *args: Any, **more: Any) -> Iterator[tuple[str, nn.Parameter]]:
        asked.append(self)
        return search(self, *args, **more)

    monkeypatch.setattr(nn.Module, "named_parameters", counted)
    program = trace(model)
    assert len(asked) < 3
    read = [str(node.target) for node in program.nodes if node.op == "get_attr"]
    assert sorted(read) == sorted(name for name, _ in search(model))
