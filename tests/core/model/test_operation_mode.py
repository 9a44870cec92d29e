"""Modes that follow operations: they do not import torch's compiler, and skip what it made."""

import sys
from typing import Any

import pytest
import torch
from torch import nn

from pruning_core.model.coupling.trace import couplings
from pruning_core.model.inventory import inventory

SHAPE = (1, 8, 8)


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()


def test_a_network_is_followed_without_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)  # an import of it would fail
    network = small()
    found = couplings(network, inventory(network, SHAPE), SHAPE)
    assert [own.layers for own in found] == [("0.weight",), ("3.weight",)]


def test_a_compiled_part_is_followed_as_the_part_itself() -> None:
    network = small()
    part = small()
    compiled: Any = torch.compile(part[0], backend="eager")
    part[0] = compiled
    layers = inventory(part, SHAPE)
    assert [layer.macs for layer in layers] == [layer.macs for layer in inventory(network, SHAPE)]
    first, last = couplings(part, layers, SHAPE)
    assert first.reason is None
    assert [read.parameter for read in first.reads] == ["3.weight"]
    assert last.reason is not None
