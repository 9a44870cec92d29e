"""Gradients against worked values and against torch's own backward pass."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pruning_core.inventory import inventory
from pruning_core.observe import gradients
from pruning_core.zoo.models import ARCHITECTURES
from tests.core.toy import refusal, same_state, state


def linear(weight: list[list[float]]) -> nn.Linear:
    model = nn.Linear(2, 2, bias=False)
    model.weight.data = torch.tensor(weight)
    return model


def images(n: int = 12, side: int = 8) -> list[tuple[Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(3)
    return [(torch.randn(n, 1, side, side, generator=rng), torch.randint(0, 10, (n,), generator=rng))]


def test_gradient_worked_by_hand() -> None:
    """At zero weights p = 1/2, so row 0 is the mean of (p - onehot) x = ((-1/2) (1, 2) + (1/2) (3, -1)) / 2; row 1 is -row 0."""
    model = linear([[0.0, 0.0], [0.0, 0.0]])
    batches = [(torch.tensor([[1.0, 2.0], [3.0, -1.0]]), torch.tensor([0, 1]))]
    found = gradients(model, inventory(model, (2,)), batches)["weight"]
    assert found[:, :, 0, 0].tolist() == [[0.5, -0.75], [-0.5, 0.75]]


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "vit"])
def test_gradients_are_those_of_torch(name: str) -> None:
    model = ARCHITECTURES[name].build((1, 8, 8), 10).eval()
    layers, ((x, y),) = inventory(model, (1, 8, 8)), images()
    found = gradients(model, layers, [(x, y)])
    cross_entropy(model(x), y).backward()
    for layer in layers:
        torch.testing.assert_close(found[layer.name].reshape(layer.param_shape), model.get_parameter(layer.name).grad)


def test_unequal_batches_weigh_every_image_the_same() -> None:
    model = ARCHITECTURES["lenet5"].build((1, 8, 8), 10)
    layers, ((x, y),) = inventory(model, (1, 8, 8)), images()
    whole = gradients(model, layers, [(x, y)])
    parts = gradients(model, layers, [(x[:1], y[:1]), (x[1:9], y[1:9]), (x[9:], y[9:])])
    for name, grad in whole.items():
        torch.testing.assert_close(parts[name], grad)


def test_training_mode_and_no_grad_make_no_difference_and_nothing_changes() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 10)).train()
    layers, before = inventory(model, (1, 8, 8)), state(model)
    with torch.no_grad():
        first = gradients(model, layers, images())
    second = gradients(model.eval(), layers, images())
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert same_state(model, before)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_frozen_parameters_have_gradients_too() -> None:
    model = ARCHITECTURES["lenet5"].build((1, 8, 8), 10)
    layers = inventory(model, (1, 8, 8))
    live = gradients(model, layers, images())
    frozen = gradients(model.requires_grad_(False), layers, images())
    assert all(torch.equal(live[name], frozen[name]) for name in live)


def test_a_tied_weight_gets_the_gradient_of_both_uses() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    layers, batches = inventory(model, (2,)), [(torch.eye(2), torch.tensor([0, 1]))]
    found = gradients(model, layers, batches)
    cross_entropy(model(batches[0][0]), batches[0][1]).backward()
    assert found.keys() == {"0.weight"}
    torch.testing.assert_close(found["0.weight"][:, :, 0, 0], model[0].weight.grad)


class Spare(nn.Module):
    """Has a layer that its forward pass never calls."""

    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Linear(2, 2)
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


def test_a_layer_that_is_not_used_has_no_gradient_and_no_macs() -> None:
    model = Spare()
    used, unused = inventory(model, (2,))
    assert (used.macs, unused.macs) == (4, 0)
    found = gradients(model, (used, unused), [(torch.eye(2), torch.tensor([0, 1]))])
    assert found["unused.weight"].abs().sum() == 0
    assert found["used.weight"].abs().sum() > 0


def test_no_batches_and_broken_weights_are_told_in_a_sentence() -> None:
    model = linear([[0.0, 1.0], [1.0, 0.0]])
    layers = inventory(model, (2,))
    assert "at least one batch" in refusal(lambda: gradients(model, layers, []))
    broken = linear([[float("nan"), 1.0], [1.0, 0.0]])
    assert "weight" in refusal(lambda: gradients(broken, layers, [(torch.eye(2), torch.tensor([0, 1]))]))
