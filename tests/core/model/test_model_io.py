"""Tensors, tuples and dicts as batches, and logits in every place where models put them."""

from collections import OrderedDict
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from pruning_core.errors import kind_text
from pruning_core.model.gradients import gradients, hessian_gradients, squared_gradients
from pruning_core.model.inventory import inventory
from pruning_core.model.model_io import (
    call,
    find_logits,
    first_sample,
    input_tensors,
    logits,
    map_tensors,
    random_if_zero,
    require_logits,
    sample_count,
    sample_range,
    tensor_bytes,
    to_device,
    with_selected_logits,
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
    """As transformers' ModelOutput: a dict whose keys are also attributes."""

    def __getattr__(self, name: str) -> object:
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(name) from error


class Takes(nn.Module):
    def forward(self, a: Tensor, b: Tensor | None = None) -> Tensor:
        return a if b is None else a + b[:, None]


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_is_given_to_the_model_as_it_is(name: str) -> None:
    x = BATCHES[name]
    wanted = A if name == "tensor" else A + B[:, None]
    assert torch.equal(call(Takes(), x), wanted)
    assert sample_count(x) == 3
    assert torch.equal(logits(Takes(), sample_range(x, 1, 9)), wanted[1:])
    assert [
        t.dtype
        for t in input_tensors(map_tensors(to_device(x, torch.device("cpu")), lambda t: t.double()))
    ] == [torch.float64] * len(input_tensors(x))
    assert type(map_tensors(x, torch.clone)) is type(x)
    assert [len(t) for t in input_tensors(first_sample(x))] == [1] * len(input_tensors(x))


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
    assert require_logits(out) is A


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
def test_outputs_without_logits_are_refused_in_a_sentence(out: object) -> None:
    assert find_logits(out) is None
    assert kind_text(type(out)) in refusal(lambda: require_logits(out))


def test_an_example_of_a_shape_is_zeros_of_the_models_type() -> None:
    x = first_sample((2, 4, 4), torch.ones(1, dtype=torch.float64))
    assert isinstance(x, Tensor)
    assert (x.shape, x.dtype, bool(x.any())) == ((1, 2, 4, 4), torch.float64, False)
    assert "no tensor" in refusal(lambda: sample_count({}))


def test_the_bytes_of_a_tied_tensor_count_once() -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    assert tensor_bytes(model) == 2 * 64
    model[1].weight = model[0].weight
    assert tensor_bytes(model) == 64


def test_only_zero_floats_become_random() -> None:
    assert random_if_zero(A) is A
    assert not random_if_zero(torch.zeros(2, dtype=torch.long)).any()
    first = random_if_zero(torch.zeros(2, 3))
    second = random_if_zero(torch.zeros(2, 3))
    assert bool(first.all())
    assert torch.equal(first, second)


def test_a_model_with_selected_logits_is_a_copy_with_the_right_gradients() -> None:
    model = nn.Sequential(nn.Linear(3, 5)).eval()
    x = torch.rand(6, 3)
    y = torch.arange(6) % 2
    some = with_selected_logits(model, (4, 1))
    assert torch.equal(logits(some, x), logits(model, x)[:, [4, 1]])
    assert not model._forward_hooks
    assert with_selected_logits(model, None) is model
    layers = inventory(model, (3,))
    for slopes in (gradients, squared_gradients, hessian_gradients):
        found = slopes(some, layers, [(x, y)])["0.weight"].flatten(1)
        assert found.any(1).tolist() == [False, True, False, False, True], slopes.__name__
