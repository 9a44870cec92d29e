"""Tensors, tuples and dicts as batches; logits wherever a model puts them."""

from collections import OrderedDict
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from pruning_core.model.gradients import gradients, hessian_gradients, squared_gradients
from pruning_core.model.inventory import inventory
from pruning_core.model.model_io import (
    answer,
    answering,
    call,
    count,
    drawn,
    each,
    example,
    found,
    logits,
    moved,
    part,
    tensors,
)
from pruning_core.types import Inputs
from tests.core.toy import refusal

A = torch.arange(6.0).view(3, 2)
B = torch.arange(3)
BATCHES: dict[str, Inputs] = {"tensor": A, "tuple": (A, B), "dict": {"a": A, "b": B}}


class Named(NamedTuple):
    aux: Tensor
    logits: Tensor


class Ordered(OrderedDict[str, Tensor]):
    """As transformers' ModelOutput: a dict whose keys are attributes too."""

    def __getattr__(self, name: str) -> object:
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(name) from error


class Takes(nn.Module):
    def forward(self, a: Tensor, b: Tensor | None = None) -> Tensor:
        return a if b is None else a + b[:, None]


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_goes_in_as_it_is(name: str) -> None:
    x = BATCHES[name]
    wanted = A if name == "tensor" else A + B[:, None]
    assert torch.equal(call(Takes(), x), wanted)
    assert count(x) == 3
    assert torch.equal(logits(Takes(), part(x, 1, 9)), wanted[1:])
    assert [
        t.dtype for t in tensors(each(moved(x, torch.device("cpu")), lambda t: t.double()))
    ] == [torch.float64] * len(tensors(x))
    assert type(each(x, torch.clone)) is type(x)
    assert [len(t) for t in tensors(example(x))] == [1] * len(tensors(x))


@pytest.mark.parametrize(
    "out",
    [
        A,
        (A, B),
        [A],
        {"logits": A, "loss": B},
        Ordered(loss=B, logits=A),
        SimpleNamespace(logits=A),
        Named(B, A),
    ],
)
def test_logits_are_found(out: object) -> None:
    assert answer(out) is A


@pytest.mark.parametrize(
    "out",
    [
        None,
        (),
        {"hidden": A},
        Ordered(hidden=A),
        SimpleNamespace(hidden=A),
        SimpleNamespace(logits=None),
    ],
)
def test_what_has_no_logits_says_so(out: object) -> None:
    assert found(out) is None
    assert type(out).__name__ in refusal(lambda: answer(out))


def test_an_example_of_a_shape_is_zeros_of_the_models_type() -> None:
    x = example((2, 4, 4), torch.ones(1, dtype=torch.float64))
    assert isinstance(x, Tensor)
    assert (x.shape, x.dtype, bool(x.any())) == ((1, 2, 4, 4), torch.float64, False)
    assert "no tensor" in refusal(lambda: count({}))


def test_only_blank_numbers_are_drawn() -> None:
    assert drawn(A) is A
    assert not drawn(torch.zeros(2, dtype=torch.long)).any()
    first = drawn(torch.zeros(2, 3))
    second = drawn(torch.zeros(2, 3))
    assert bool(first.all())
    assert torch.equal(first, second)


def test_a_model_that_answers_with_some_logits_is_a_copy_that_every_gradient_follows() -> None:
    model = nn.Sequential(nn.Linear(3, 5)).eval()
    x = torch.rand(6, 3)
    y = torch.arange(6) % 2
    some = answering(model, (4, 1))
    assert torch.equal(logits(some, x), logits(model, x)[:, [4, 1]])
    assert not model._forward_hooks
    assert answering(model, None) is model
    layers = inventory(model, (3,))
    for slopes in (gradients, squared_gradients, hessian_gradients):
        found = slopes(some, layers, [(x, y)])["0.weight"].flatten(1)
        assert found.any(1).tolist() == [False, True, False, False, True], slopes.__name__
