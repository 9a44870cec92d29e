"""Copies of models are what `copy.deepcopy` makes, for modules of every kind."""

from collections import OrderedDict
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from pruning_core.model.model_io import copy_model
from pruning_core.zoo.models import ARCHITECTURES


class Knot(nn.Module):
    """Refers to its parent, to its own method, and to a tensor and a list that it has twice."""

    def __init__(self, parent: nn.Module) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.same = self.fc
        self.numbers = [1, [2]]
        self.again = self.numbers
        self.none: dict[str, int] = {}
        self.also_none = self.none
        self.pairs = ((1, 2), OrderedDict(a=torch.ones(2)))
        object.__setattr__(self, "parent", parent)
        object.__setattr__(self, "own", self.forward)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


class Reset(nn.Module):
    """Its state is read in its own way."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.calls = 7

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state | {"calls": 0})


class Own(nn.Module):
    """Says how it is copied."""

    def __init__(self, copies: int = 0) -> None:
        super().__init__()
        self.copies = copies

    def __deepcopy__(self, memo: dict[int, Any]) -> "Own":
        return Own(self.copies + 1)


def knotted() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 3))
    model.append(Knot(model))
    model[0].weight.requires_grad_(False)
    model.register_forward_hook(print)
    return model


MODELS: dict[str, Callable[[], nn.Module]] = {
    "knotted": knotted,
    "reset": lambda: nn.Sequential(Reset()),
    "own": lambda: nn.Sequential(Own()),
    "tied": lambda: nn.ModuleList([own := nn.Linear(2, 2), own]),
    "normed": lambda: nn.Sequential(weight_norm(nn.Linear(3, 2))),
    "attention": lambda: nn.TransformerEncoderLayer(8, 2),
    **{name: lambda a=each: a.build((1, 8, 8), 10) for name, each in ARCHITECTURES.items()},  # type: ignore[misc]
}


def form(value: Any, seen: dict[int, int]) -> Any:
    """A value as numbers and names; an object that was there before as its number."""
    if isinstance(value, nn.Module | dict | list | set | Tensor):
        if id(value) in seen:
            return seen[id(value)]
        seen[id(value)] = len(seen)
    if isinstance(value, Tensor):
        return type(value), value.tolist(), value.requires_grad, value.stride()
    if isinstance(value, nn.Module):
        return type(value).__qualname__, form(vars(value), seen)
    if isinstance(value, dict):
        return type(value), [(name, form(each, seen)) for name, each in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [form(each, seen) for each in value]
    if hasattr(value, "__self__") and isinstance(value.__self__, nn.Module):
        return value.__name__, form(value.__self__, seen)
    return value if isinstance(value, str | int | float | set | None) else type(value)


@pytest.mark.parametrize("name", MODELS)
def test_a_copy_is_a_deep_copy(name: str) -> None:
    """Also in what is the same object twice, and in what a class does when it is copied."""
    model = MODELS[name]()
    before = form(model, {})
    copy = copy_model(model)
    assert form(copy, {}) == form(deepcopy(model), {})
    assert form(model, {}) == before
    own = {id(tensor) for tensor in model.state_dict(keep_vars=True).values()}
    assert not own & {id(tensor) for tensor in copy.state_dict(keep_vars=True).values()}
    tables = [value for each in model.modules() for value in vars(each).values()]
    changeable = {id(value) for value in tables if isinstance(value, dict | list | set)}
    assert not any(
        id(value) in changeable for each in copy.modules() for value in vars(each).values()
    )


def test_a_shared_tensor_is_not_copied() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    shared = model.get_parameter("0.weight")
    copy = copy_model(model, [shared])
    assert copy.get_parameter("0.weight") is shared
    assert copy.get_parameter("1.weight") is not model.get_parameter("1.weight")
