"""Gradients against values by hand and against torch's own backward pass."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pruning_core.model import gradients as observe
from pruning_core.model.gradients import gradients, hessian_gradients, squared_gradients
from pruning_core.model.inventory import inventory
from pruning_core.types import Scores
from pruning_core.zoo.models import ARCHITECTURES
from tests.core.toy import refusal, same_state, state


def linear(weight: list[list[float]]) -> nn.Linear:
    model = nn.Linear(2, 2, bias=False)
    model.weight.data = torch.tensor(weight)
    return model


def images(n: int = 12, side: int = 8) -> list[tuple[Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(3)
    return [
        (torch.randn(n, 1, side, side, generator=rng), torch.randint(0, 10, (n,), generator=rng))
    ]


def test_gradient_by_hand() -> None:
    """At zero weights p = 1/2, so row 0 is the mean of (p - onehot) x, and row 1 is -row 0.

    Row 0: ((-1/2) (1, 2) + (1/2) (3, -1)) / 2.
    """
    model = linear([[0.0, 0.0], [0.0, 0.0]])
    batches = [(torch.tensor([[1.0, 2.0], [3.0, -1.0]]), torch.tensor([0, 1]))]
    slopes = gradients(model, inventory(model, (2,)), batches)["weight"]
    assert slopes[:, :, 0, 0].tolist() == [[0.5, -0.75], [-0.5, 0.75]]


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "vit"])
def test_gradients_are_those_of_torch(name: str) -> None:
    model = ARCHITECTURES[name].build((1, 8, 8), 10).eval()
    layers = inventory(model, (1, 8, 8))
    ((x, y),) = images()
    slopes = gradients(model, layers, [(x, y)])
    cross_entropy(model(x), y).backward()
    for layer in layers:
        torch.testing.assert_close(
            slopes[layer.name].reshape(layer.param_shape), model.get_parameter(layer.name).grad
        )


def test_every_image_has_the_same_weight_in_unequal_batches() -> None:
    model = ARCHITECTURES["lenet5"].build((1, 8, 8), 10)
    layers = inventory(model, (1, 8, 8))
    ((x, y),) = images()
    whole = gradients(model, layers, [(x, y)])
    parts = gradients(model, layers, [(x[:1], y[:1]), (x[1:9], y[1:9]), (x[9:], y[9:])])
    for name, grad in whole.items():
        torch.testing.assert_close(parts[name], grad)


def test_training_mode_and_no_grad_make_no_difference_and_the_model_is_not_changed() -> None:
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 10)
    ).train()
    layers = inventory(model, (1, 8, 8))
    before = state(model)
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
    layers = inventory(model, (2,))
    batches = [(torch.eye(2), torch.tensor([0, 1]))]
    slopes = gradients(model, layers, batches)
    cross_entropy(model(batches[0][0]), batches[0][1]).backward()
    assert slopes.keys() == {"0.weight"}
    torch.testing.assert_close(slopes["0.weight"][:, :, 0, 0], model[0].weight.grad)


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
    slopes = gradients(model, (used, unused), [(torch.eye(2), torch.tensor([0, 1]))])
    assert slopes["unused.weight"].abs().sum() == 0
    assert slopes["used.weight"].abs().sum() > 0


def test_no_batches_and_broken_weights_are_refused_in_a_sentence() -> None:
    model = linear([[0.0, 1.0], [1.0, 0.0]])
    layers = inventory(model, (2,))
    assert "at least one batch" in refusal(lambda: gradients(model, layers, []))
    broken = linear([[float("nan"), 1.0], [1.0, 0.0]])
    assert "weight" in refusal(
        lambda: gradients(broken, layers, [(torch.eye(2), torch.tensor([0, 1]))])
    )


class Fused(nn.Module):
    """Attention by torch's fused kernel, as models outside torch.nn call it."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(8, 24)
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.mix(x[:, 0]).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.head(attended.transpose(1, 2).flatten(2).mean(1))


def test_the_second_derivative_passes_through_fused_attention() -> None:
    """H g against central differences along g, in double precision."""
    model = Fused().double()
    ((x, y),) = images(4)
    layers = inventory(model.float(), (1, 8, 8))
    model.double()
    g = gradients(model, layers, [(x.double(), y)])
    moved = {}
    for sign in (1, -1):
        other = Fused().double()
        other.load_state_dict(model.state_dict())
        for layer in layers:
            other.get_parameter(layer.name).data += (
                sign * 1e-4 * g[layer.name].view(layer.param_shape)
            )
        moved[sign] = gradients(other, layers, [(x.double(), y)])
    slopes = hessian_gradients(model, layers, [(x.double(), y)])
    for layer in layers:
        wanted = (moved[1][layer.name] - moved[-1][layer.name]) / 2e-4
        torch.testing.assert_close(slopes[layer.name], wanted, rtol=1e-4, atol=1e-7)


def test_gradients_of_single_images_pass_through_fused_attention(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Fused()
    batches = images(9)
    layers = inventory(model, (1, 8, 8))
    whole = squared_gradients(model, layers, batches)
    monkeypatch.setattr(observe, "GRADIENT_BYTES", 4 * 2 * sum(layer.numel for layer in layers))
    parts = squared_gradients(model, layers, batches)
    for layer in layers:
        torch.testing.assert_close(parts[layer.name], whole[layer.name])
        loop = [
            gradients(model, (layer,), [(x[None], y[None])])[layer.name].square()
            for x, y in zip(*batches[0], strict=True)
        ]
        torch.testing.assert_close(
            whole[layer.name], torch.stack(loop).mean(0), rtol=1e-4, atol=1e-8
        )


class ReadsValues(nn.Module):
    """Reads values to decide what to do: torch.func cannot compute many images together."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) if x.sum().item() > -1e9 else x


def test_images_that_cannot_be_computed_together_are_computed_one_by_one() -> None:
    model = ReadsValues()
    layers = inventory(model, (2,))
    batches = [(torch.eye(2), torch.tensor([0, 1]))]
    squares = squared_gradients(model, layers, batches)["fc.weight"][:, :, 0, 0]
    error = torch.softmax(model(torch.eye(2)), 1).detach() - torch.eye(2)  # dL_n/dW = (p - y) x^T
    slopes = torch.stack([torch.outer(e, x) for e, x in zip(error, torch.eye(2), strict=True)])
    torch.testing.assert_close(squares, slopes.square().mean(0))
    assert hessian_gradients(model, layers, batches)["fc.weight"].any()


class Counting(ReadsValues):
    """Counts the calls of all its copies."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        Counting.calls += 1
        return super().forward(x)


def test_computing_images_together_is_tried_once() -> None:
    model = Counting()
    layers = inventory(model, (2,))
    batches = [(torch.eye(2), torch.tensor([0, 1]))] * 3
    Counting.calls = 0
    squared_gradients(model, layers, batches)
    looking_for_checkpoints = 1
    assert Counting.calls == looking_for_checkpoints + 1 + 3 * 2


class Placed(nn.Linear):
    """Notes the devices of the inputs of all its copies."""

    devices: ClassVar[list[str]] = []

    def forward(self, x: Tensor) -> Tensor:
        Placed.devices.append(x.device.type)
        return super().forward(x)


def test_images_are_moved_to_the_device_of_the_network() -> None:
    """The device "meta" stands for a GPU; its tensors have no values, so there is no result."""
    model = Placed(2, 2)
    layers = inventory(model, (2,))
    Placed.devices.clear()
    refusal(lambda: gradients(model.to("meta"), layers, [(torch.eye(2), torch.tensor([0, 1]))]))
    assert Placed.devices == ["meta", "meta"]


class Full(ReadsValues):
    """Raises as if the memory were full."""

    def forward(self, x: Tensor) -> Tensor:
        if torch._C._functorch.is_functorch_wrapped_tensor(x):
            raise torch.OutOfMemoryError("no room")
        return self.fc(x)


def test_a_full_memory_raises_its_own_error() -> None:
    model = Full()
    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        squared_gradients(model, inventory(model, (2,)), [(torch.eye(2), torch.tensor([0, 1]))])


@pytest.mark.parametrize("read", [hessian_gradients, squared_gradients])
def test_second_derivatives_do_not_change_the_model_and_need_batches(
    read: Callable[..., Scores],
) -> None:
    model = ARCHITECTURES["vit"].build((1, 8, 8), 10).train()
    layers = inventory(model, (1, 8, 8))
    before = state(model)
    first = read(model, layers, images())
    assert same_state(model, before)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert all(
        torch.equal(first[name], again) for name, again in read(model, layers, images()).items()
    )
    assert "at least one batch" in refusal(lambda: read(model, layers, []))


class Overwritten(nn.Module):
    """Changes in place what the backward pass needs, so that no gradient can be computed."""

    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        out = self.f(x).sigmoid()
        out.mul_(2)
        return out


class Cut(torch.autograd.Function):
    """Passes values on, and no gradient."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(_ctx: Any, _gradient: Tensor) -> None:
        return None


class Unread(nn.Module):
    """No gradient reaches the weight: none is computed, or a function gives none back."""

    def __init__(self, detached: bool) -> None:
        super().__init__()
        self.f = nn.Linear(4, 2)
        self.detached = detached

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.f(x)
        return out.detach() if self.detached else Cut.apply(out)


@pytest.mark.parametrize("method", [gradients, hessian_gradients, squared_gradients])
def test_gradients_that_cannot_be_computed_are_refused_in_a_sentence(
    method: Callable[..., Scores],
) -> None:
    batches = [(torch.rand(3, 4), torch.zeros(3, dtype=torch.long))]
    model = Overwritten()
    layers = inventory(model, (4,))
    assert "inplace operation" in refusal(lambda: method(model, layers, batches))
    for detached in (False, True):
        unread = Unread(detached)
        assert "No gradient" in refusal(partial(method, unread, inventory(unread, (4,)), batches))


def test_gradients_beside_a_torchscript_part() -> None:
    with pytest.warns(FutureWarning, match="deprecated"):
        part = torch.jit.script(nn.Sequential(nn.Linear(6, 8), nn.Tanh()))
    model = nn.Sequential(nn.Linear(4, 6), part, nn.Linear(8, 2)).eval()
    x = torch.rand(3, 4)
    y = torch.tensor([0, 1, 1])
    slopes = gradients(model, inventory(model, (4,)), [(x, y)])
    cross_entropy(model(x), y).backward()
    torch.testing.assert_close(slopes["0.weight"][:, :, 0, 0], model[0].weight.grad)
