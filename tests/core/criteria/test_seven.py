"""SEVEN against a loop written from the paper's formulas, and its mean noise factors."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from pruning_core.criteria import criterion
from pruning_core.criteria.seven import AccumulatedScores, Moments, noise_factors
from pruning_core.model.gradients import batch_gradients
from pruning_core.model.inventory import inventory
from pruning_core.types import Layer, PruningError
from pruning_core.zoo.models import ARCHITECTURES

RNG = torch.Generator().manual_seed(3)
X = torch.randn(320, 1, 8, 8, generator=RNG)
Y = torch.arange(320) % 10


def network() -> tuple[nn.Module, tuple[Layer, ...]]:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = ARCHITECTURES["lenet5"].build((1, 8, 8), 10).eval()
    return model, inventory(model, (1, 8, 8))


def slope(model: nn.Module, name: str, x: Tensor, y: Tensor) -> Tensor:
    """dL/dw of one mini-batch by autograd alone."""
    w = model.get_parameter(name).detach().clone().requires_grad_(True)
    return torch.autograd.grad(cross_entropy(functional_call(model, {name: w}, (x,)), y), w)[0]


def by_loop(model: nn.Module, name: str, *, signed: bool = False) -> Tensor:
    """Ten mini-batches of 32, with the pseudo-code's own names."""
    a1 = 0.8
    a2 = 0.9
    w = model.get_parameter(name).detach()
    m = torch.zeros_like(w)
    v = torch.zeros_like(w)
    s = torch.zeros_like(w)
    for t in range(10):
        g = slope(model, name, X[32 * t : 32 * t + 32], Y[32 * t : 32 * t + 32])
        m = a1 * m + (1 - a1) * (g if signed else g.abs())
        v = a2 * v + (1 - a2) * g**2
        m_hat = m / (1 - a1 ** (t + 1))
        v_hat = v / (1 - a2 ** (t + 1))
        s += (w * g * m_hat / (v_hat.sqrt() + 1e-9)).abs()
    return s


@pytest.mark.parametrize("signed", [False, True])
def test_ten_mini_batches_give_the_score_of_the_loop(signed: bool) -> None:
    model, layers = network()
    seven = replace(criterion("seven"), signed_moment=signed)
    found = seven(model, layers, [(X[:128], Y[:128]), (X[128:256], Y[128:256]), (X[256:], Y[256:])])
    for layer in layers[1:4]:
        wanted = by_loop(model, layer.name, signed=signed)
        torch.testing.assert_close(
            found[layer.name], wanted.view(layer.shape), rtol=1e-4, atol=1e-9
        )


def test_one_mini_batch_is_taylor() -> None:
    model, layers = network()
    found, taylor = (
        criterion(name)(model, layers, [(X[:32], Y[:32])]) for name in ("seven", "taylor")
    )
    for layer in layers:
        torch.testing.assert_close(found[layer.name], taylor[layer.name], rtol=1e-5, atol=1e-9)


def gradients(kind: str, steps: int = 300, weights: int = 4000) -> Tensor:
    noise = torch.randn(steps, weights, generator=torch.Generator().manual_seed(0))
    spikes = torch.rand(steps, weights, generator=torch.Generator().manual_seed(1)) < 0.05
    return {
        "steady": torch.ones(steps, weights),
        "mean 3 sd": 3 + noise,
        "noise": noise,
        "spikes": noise * spikes,
    }[kind]


@pytest.mark.parametrize(
    ("kind", "signed", "mean"),
    [
        ("steady", False, 1.0),
        ("mean 3 sd", False, 0.95),
        ("noise", False, 0.80),
        ("spikes", False, 0.15),
        ("noise", True, 0.27),
    ],
)
def test_mean_noise_factors_are_those_of_the_reference(
    kind: str, signed: bool, mean: float
) -> None:
    """Steady 1.0; mean = 3 sd 0.95; pure noise 0.80, with a signed moment 0.27; 5% spikes 0.15."""
    found = Moments(signed=signed)
    means = []
    for step, g in enumerate(gradients(kind)):
        found.add(g)
        if step >= 100:
            means.append(float(found.factor().mean()))
    assert sum(means) / len(means) == pytest.approx(mean, abs=0.03)


def test_the_factor_of_every_weight_is_one_after_one_mini_batch_and_bounded_later() -> None:
    model, layers = network()
    first = noise_factors(batch_gradients(model, layers, [(X[:32], Y[:32])], 32))
    later = noise_factors(batch_gradients(model, layers, [(X, Y)], 32))
    for layer in layers:
        slopes = next(batch_gradients(model, layers, [(X[:32], Y[:32])], 32))[layer.name]
        # The 1e-9 in the denominator is negligible for these.
        large = slopes.abs() > 1e-6
        assert large.any()
        torch.testing.assert_close(
            first[layer.name][large], torch.ones(int(large.sum())), rtol=2e-3, atol=0
        )
        assert later[layer.name].shape == layer.shape
        assert 0 <= float(later[layer.name].min()) <= float(later[layer.name].max()) < 1.2


def test_removed_weights_score_zero_whatever_their_gradient() -> None:
    found = AccumulatedScores()
    keep = {"w": torch.tensor([True, False, True])}
    for masks in ({}, keep, keep):
        found.add({"w": torch.ones(3)}, {"w": torch.tensor([1.0, 2.0, 3.0])}, masks)
    assert found.scores["w"][1] == 0
    assert found.scores["w"][0] == pytest.approx(3.0, rel=1e-4)


def test_mini_batches_keep_the_model_and_have_their_own_mean() -> None:
    model, layers = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    parts = list(batch_gradients(model, layers, [(X[:70], Y[:70])], 32))
    assert len(parts) == 3
    wanted = slope(model, layers[0].name, X[64:70], Y[64:70])
    torch.testing.assert_close(
        parts[2][layers[0].name].view_as(wanted), wanted, rtol=1e-4, atol=1e-8
    )
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    with pytest.raises(PruningError, match="at least one batch"):
        list(batch_gradients(model, layers, [], 32))
