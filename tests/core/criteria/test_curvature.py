"""Criteria that read second derivatives, against whole Hessians and loops."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from pruning_core.criteria import criterion
from pruning_core.model.gradients import hessian_gradients
from pruning_core.model.inventory import inventory
from pruning_core.types import Layer
from tests.core.criteria.six_images import BATCHES, X, Y, network
from tests.core.toy import same_state, state


def tiny() -> tuple[nn.Sequential, tuple[Layer, ...], list[tuple[Tensor, Tensor]]]:
    """3 -> 4 -> 2, in double precision: its whole Hessian has 20 x 20 entries."""
    rng = torch.Generator().manual_seed(3)
    model = nn.Sequential(
        nn.Linear(3, 4, bias=False), nn.Tanh(), nn.Linear(4, 2, bias=False)
    ).double()
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
    x = torch.randn(9, 3, generator=rng, dtype=torch.float64)
    y = torch.arange(9) % 2
    return model, inventory(model, (3,)), [(x[:5], y[:5]), (x[5:], y[5:])]


def tiny_loss(flat: Tensor, x: Tensor, y: Tensor, temperature: float) -> Tensor:
    first = flat[:12].view(4, 3)
    second = flat[12:].view(2, 4)
    return cross_entropy((x @ first.T).tanh() @ second.T / temperature, y)


@pytest.mark.parametrize("temperature", [1.0, 200.0])
def test_grasp_is_w_times_the_whole_hessian_times_the_gradient(temperature: float) -> None:
    model, layers, batches = tiny()
    x, y = (torch.cat(part) for part in zip(*batches, strict=True))
    flat = torch.cat([p.detach().flatten() for p in model.parameters()])
    slope = torch.func.grad(tiny_loss)(flat, x, y, temperature)
    curvature = torch.autograd.functional.hessian(lambda w: tiny_loss(w, x, y, temperature), flat)
    wanted = flat * (curvature @ slope)
    products = hessian_gradients(model, layers, batches, temperature)
    got = flat * torch.cat([products[layer.name].flatten() for layer in layers])
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-14)
    how = replace(criterion("grasp"), temperature=temperature)
    scores = how(model, layers, batches)
    single = torch.cat([scores[layer.name].flatten() for layer in layers])
    bound = 1e-6 * float(wanted.abs().max())
    torch.testing.assert_close(single, wanted.float(), rtol=1e-4, atol=bound)


def test_batch_statistics_are_those_of_training_mode() -> None:
    """SNIP and GraSP by autograd on the network in training mode, one batch."""
    model, layers = network("vgg")
    batches = [(X, Y)]
    before = state(model)
    work = deepcopy(model).train()
    w = [work.get_parameter(layer.name) for layer in layers]
    slopes = torch.autograd.grad(cross_entropy(work(X), Y), w)
    total = sum((a.detach() * g).abs().sum() for a, g in zip(w, slopes, strict=True))
    snip = criterion("snip_batch")(model, layers, batches)
    fixed = torch.autograd.grad(cross_entropy(work(X) / 200, Y), w)
    own = torch.autograd.grad(cross_entropy(work(X) / 200, Y), w, create_graph=True)
    dot = torch.stack([(f * o).sum() for f, o in zip(fixed, own, strict=True)]).sum()
    products = torch.autograd.grad(dot, w)
    grasp = criterion("grasp_batch")(model, layers, batches)
    for layer, a, g, hg in zip(layers, w, slopes, products, strict=True):
        wanted = (a.detach() * g).abs().view(layer.shape) / total
        torch.testing.assert_close(snip[layer.name], wanted, rtol=1e-3, atol=1e-8)
        wanted = (a.detach() * hg).view(layer.shape)
        bound = 1e-4 * float(wanted.abs().max())
        torch.testing.assert_close(grasp[layer.name], wanted, rtol=1e-3, atol=bound)
    running = criterion("snip")(model, layers, batches)
    assert any(not torch.allclose(snip[x.name], running[x.name], rtol=0.1) for x in layers)
    assert same_state(model, before)


def test_grasp_removes_first_what_the_paper_scores_highest() -> None:
    """-w (H g) is the slope of |g|^2 / 2 as w is scaled to zero.

    So the removal of the lowest scores raises the gradient flow most.
    """
    model, layers, batches = tiny()
    x, y = (torch.cat(part) for part in zip(*batches, strict=True))
    flat = torch.cat([p.detach().flatten() for p in model.parameters()])
    found = criterion("grasp")(model, layers, batches)
    got = torch.cat([found[layer.name].flatten() for layer in layers])

    def flow(scaled: Tensor) -> Tensor:
        return torch.func.grad(tiny_loss)(scaled, x, y, 200.0).square().sum() / 2

    for index in (int(got.argmin()), int(got.argmax())):
        step = torch.zeros_like(flat)
        step[index] = -1e-5 * flat[index]
        assert float(flow(flat + step) - flow(flat)) / 1e-5 == pytest.approx(
            -got[index].item(), rel=1e-3
        )


@pytest.mark.parametrize("arch", ["resnet20", "vit"])
def test_grasp_differentiates_twice_through_batch_norm_and_attention(arch: str) -> None:
    """Against central differences of the gradient along itself, in double precision."""
    model, layers = network(arch)
    model.double()
    x = X.double()
    y = Y
    parameters = [model.get_parameter(layer.name) for layer in layers]

    def slopes(steps: list[Tensor], size: float) -> list[Tensor]:
        changed = {
            layer.name: p + size * s for layer, p, s in zip(layers, parameters, steps, strict=True)
        }
        return list(
            torch.autograd.grad(
                cross_entropy(functional_call(model, changed, (x,)) / 200, y), parameters
            )
        )

    g = slopes([torch.zeros_like(p) for p in parameters], 0.0)
    forward = slopes(g, 1e-3)
    backward = slopes(g, -1e-3)
    found = hessian_gradients(model, layers, [(x, y)], 200.0)
    for layer, p, plus, minus in zip(layers, parameters, forward, backward, strict=True):
        wanted = (p * (plus - minus) / 2e-3).detach().view(layer.shape)
        torch.testing.assert_close(
            p.detach().view(layer.shape) * found[layer.name],
            wanted,
            rtol=1e-4,
            atol=1e-5 * float(wanted.abs().max()),
        )


def test_obd_closed_form() -> None:
    """Both rows are equal, so p = 1/2: h = (5/4, 5/8).

    The gradients of row 0 are -(1/2) (1, 2) for one image and (1/2) (3, -1) for the other.
    """
    model = nn.Linear(2, 2, bias=False)
    model.weight.data = torch.tensor([[2.0, -4.0], [2.0, -4.0]])
    batches = [(torch.tensor([[1.0, 2.0], [3.0, -1.0]]), torch.tensor([0, 1]))]
    found = criterion("obd")(model, inventory(model, (2,)), batches)["weight"]
    assert found.flatten().tolist() == pytest.approx([2.5, 5.0, 2.5, 5.0])


@pytest.mark.parametrize("arch", ["lenet5", "resnet20", "vit"])
def test_obd_squares_the_gradient_of_each_image(arch: str) -> None:
    """A loop over single images, two of them in another batch."""
    model, layers = network(arch)
    parameters = [model.get_parameter(layer.name) for layer in layers]
    total = [torch.zeros_like(p) for p in parameters]
    for x, y in zip(X, Y, strict=True):
        for held, slope in zip(
            total,
            torch.autograd.grad(cross_entropy(model(x[None]), y[None]), parameters),
            strict=True,
        ):
            held += slope.square() / len(X)
    found = criterion("obd")(model, layers, BATCHES)
    for layer, p, h in zip(layers, parameters, total, strict=True):
        wanted = (p.detach().square() * h / 2).view(layer.shape)
        torch.testing.assert_close(
            found[layer.name], wanted, rtol=1e-3, atol=1e-6 * float(wanted.max())
        )
