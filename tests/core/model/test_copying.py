"""Copies of modules are those of Python's `copy.deepcopy`."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pruning_core.model.copying import leaf_copy
from pruning_core.zoo.models import ARCHITECTURES


class Odd(nn.Module):
    """Attributes of many kinds, some of them twice, one that leads back to the module itself."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(3, 3)
        self.two = nn.Linear(3, 3, bias=False)
        self.two.weight = self.one.weight
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("whole", torch.arange(6.0))
        self.register_buffer("part", self.get_buffer("whole")[2:4])
        self.register_buffer("turned", torch.arange(6.0).view(2, 3).t(), persistent=False)
        self.register_buffer("absent", None)
        self.names = {"a", "b"}
        self.sizes = (1, (2, 3))
        self.kept = [self.one.weight, {"x": self.whole, 3: [1, 2]}]
        self.again = self.kept
        self.by_name = {"first": self.one, "unregistered": (nn.Linear(2, 2),)}
        self.call = self.own
        self.one.register_forward_hook(self.own)
        self.two.requires_grad_(False)

    def own(self, *_: Any) -> None: ...


def tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


def places(model: nn.Module) -> list[int]:
    """For each tensor the first one with the same storage."""
    addresses = [tensor.untyped_storage()._cdata for tensor in tensors(model)]
    return [addresses.index(each) for each in addresses]


def same(one: nn.Module, other: nn.Module) -> None:
    """Are all attributes of all modules the same, and the tensors equal and laid out the same?"""
    assert [name for name, _ in one.named_modules()] == [name for name, _ in other.named_modules()]
    for left, right in zip(one.modules(), other.modules(), strict=True):
        assert type(left) is type(right)
        assert [*vars(left)] == [*vars(right)]
        assert [*map(type, vars(left).values())] == [*map(type, vars(right).values())]
    assert places(one) == places(other)
    for a, b in zip(tensors(one), tensors(other), strict=True):
        assert torch.equal(a, b)
        assert (a.stride(), a.storage_offset()) == (b.stride(), b.storage_offset())
        assert (a.dtype, a.requires_grad, type(a)) == (b.dtype, b.requires_grad, type(b))


@pytest.mark.parametrize("build", [Odd, lambda: ARCHITECTURES["resnet20"].build((1, 8, 8), 10)])
def test_a_copy_is_the_one_of_deepcopy(build: Any) -> None:
    model = build()
    copied = leaf_copy(model, {})
    same(copied, deepcopy(model))
    assert {t.data_ptr() for t in tensors(copied)}.isdisjoint(t.data_ptr() for t in tensors(model))


def test_what_is_known_twice_is_one_object_in_the_copy() -> None:
    model: Any = Odd()
    copied = leaf_copy(model, {})
    assert copied.again is copied.kept is not model.kept
    assert copied.kept[0] is copied.one.weight is copied.two.weight
    assert copied.kept[1]["x"] is copied.whole is not model.whole
    assert copied.part.data_ptr() == copied.whole[2:].data_ptr()
    assert copied.by_name["first"] is copied.one
    assert copied.call.__self__ is copied
    (hook,) = copied.one._forward_hooks.values()
    assert hook.__self__ is copied
    copied.names.add("c")
    copied.by_name["unregistered"][0].weight.data.zero_()
    copied.one._forward_hooks.clear()
    assert model.names == {"a", "b"}
    assert model.by_name["unregistered"][0].weight.any()
    assert model.one._forward_hooks


def test_what_is_in_the_memo_is_shared() -> None:
    model = Odd()
    memo: dict[int, Any] = {id(model.one.weight): model.one.weight, id(model.norm): model.norm}
    copied = leaf_copy(model, memo)
    assert copied.two.weight is model.one.weight
    assert copied.norm is model.norm
    assert copied.one.bias is not model.one.bias


class Single(nn.Linear):
    """Its copy is itself."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "Single":
        return self


class Counting(nn.Module):
    """Counts how often it was copied."""

    copies = 0

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.copies += 1


class Forgetful(nn.Module):
    """Leaves an attribute out of its copies."""

    def __init__(self) -> None:
        super().__init__()
        self.large = [1, 2, 3]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "large"}


def test_a_module_with_a_copy_of_its_own_kind_gets_it() -> None:
    model = nn.Sequential(Single(2, 2), nn.Linear(2, 2))
    copied = leaf_copy(model, {})
    assert copied[0] is model[0]
    assert copied[1] is not model[1]
    counted = leaf_copy(nn.Sequential(Counting()), {})[0]
    assert isinstance(counted, Counting)
    assert counted.copies == 1
    assert not hasattr(leaf_copy(nn.Sequential(Forgetful()), {})[0], "large")


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")
def test_copies_of_traced_and_scripted_networks_can_be_trained() -> None:
    plain = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    for model in (torch.fx.symbolic_trace(plain), torch.jit.script(plain)):
        copied = leaf_copy(model, {})
        assert all(own.is_leaf and own.requires_grad for own in copied.parameters())
        assert [*copied.state_dict()] == [*model.state_dict()]
