"""Criteria that read the loss or activations, against gates, loops and closed forms worked out
apart from them.
"""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from pruning_core.criteria import CRITERIA, criterion
from pruning_core.granularity import granularity
from pruning_core.masks import group_scores
from pruning_core.model.inventory import inventory
from pruning_core.types import Layer
from pruning_core.zoo.models import ARCHITECTURES

RNG = torch.Generator().manual_seed(7)
X = torch.randn(6, 1, 8, 8, generator=RNG)
Y = torch.arange(6)
BATCHES = [(X[:4], Y[:4]), (X[4:], Y[4:])]


def network(arch: str = "lenet5") -> tuple[nn.Module, tuple[Layer, ...]]:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = ARCHITECTURES[arch].build((1, 8, 8), 10).eval()
    return model, inventory(model, (1, 8, 8))


def gated(model: nn.Module, layer: Layer, gate: Tensor) -> Tensor:
    """The mean loss with the layer's weight multiplied by a gate."""
    weight = model.get_parameter(layer.name).detach()
    return cross_entropy(
        functional_call(
            model, {layer.name: weight * gate.view(-1, *[1] * (weight.ndim - 1))}, (X,)
        ),
        Y,
    )


def test_taylor_of_a_group_is_the_squared_slope_of_its_gate() -> None:
    """(dL/dz)^2 for a gate z = 1 on each filter, as in the paper's section 3.2; opposite signs
    cancel, unlike in the mean.
    """
    model, layers = network()
    how = criterion("taylor_group")
    g = granularity("filter")
    found = group_scores(how(model, layers[:-1], BATCHES), layers[:-1], g, how.pool)
    for layer in layers[:-1]:
        gate = torch.ones(layer.shape[0], requires_grad=True)
        (slope,) = torch.autograd.grad(gated(model, layer, gate), gate)
        torch.testing.assert_close(found[layer.name][0], slope.square(), rtol=1e-3, atol=1e-10)


def test_a_group_whose_pulls_cancel_goes_first_by_taylor_of_the_group() -> None:
    scores = {"w": torch.tensor([[3.0, -3.0], [1.0, 1.0]])[:, :, None, None]}
    here = (Layer("w", "", "conv2d", (2, 2, 1, 1), (2, 2, 1, 1)),)
    assert group_scores(scores, here, granularity("filter"), CRITERIA["taylor_group"].pool)[
        "w"
    ].tolist() == [[0.0, 4.0]]
    assert group_scores(scores, here, granularity("filter"), CRITERIA["taylor"].pool)[
        "w"
    ].tolist() == [[3.0, 1.0]]


def test_snip_is_the_normalised_slope_of_the_masks() -> None:
    """|dL/dc| at c = 1, over its sum over all layers: one autograd pass with all weights written as
    w c.
    """
    model, layers = network()
    masks = {x.name: torch.ones(x.param_shape, requires_grad=True) for x in layers}
    changed = {name: model.get_parameter(name).detach() * mask for name, mask in masks.items()}
    slopes = torch.autograd.grad(
        cross_entropy(functional_call(model, changed, (X,)), Y), list(masks.values())
    )
    total = sum(slope.abs().sum() for slope in slopes)
    found = criterion("snip")(model, layers, BATCHES)
    for layer, slope in zip(layers, slopes, strict=True):
        torch.testing.assert_close(found[layer.name].view(layer.param_shape), slope.abs() / total)
    assert sum(each.sum().item() for each in found.values()) == pytest.approx(1.0, abs=1e-5)


def test_snip_ranks_single_weights_as_taylor_and_a_group_by_its_sum() -> None:
    model, layers = network()
    snip, taylor = (criterion(name)(model, layers, BATCHES) for name in ("snip", "taylor"))
    ratios = torch.cat([(snip[x.name] / taylor[x.name])[taylor[x.name] > 1e-6] for x in layers])
    assert ratios.std() < 1e-5 * ratios.mean()
    groups = group_scores(snip, layers[:1], granularity("filter"), CRITERIA["snip"].pool)[
        layers[0].name
    ]
    torch.testing.assert_close(groups[0], snip[layers[0].name].flatten(1).sum(1))


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
    how = replace(criterion("grasp"), temperature=temperature)
    found = how(model, layers, batches)
    got = torch.cat([found[layer.name].flatten() for layer in layers])
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-14)


def test_grasp_removes_first_what_the_paper_scores_highest() -> None:
    """-w (H g) is the slope of |g|^2 / 2 as w is scaled down to zero: the lowest of our scores
    raise the gradient's flow most.
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
    forth = slopes(g, 1e-3)
    back = slopes(g, -1e-3)
    found = criterion("grasp")(model, layers, [(x, y)])
    for layer, p, plus, minus in zip(layers, parameters, forth, back, strict=True):
        wanted = (p * (plus - minus) / 2e-3).detach().view(layer.shape)
        torch.testing.assert_close(
            found[layer.name], wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max())
        )


def test_obd_closed_form() -> None:
    """At zero weights p = 1/2: per-image gradients of row 0 are -(1/2) (1, 2) and (1/2) (3, -1), so
    h = (5/4, 5/8).
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


def test_wanda_is_the_weight_times_the_norm_of_its_input() -> None:
    """The authors' running mean over samples of ||x_j||^2, one sample of tokens at a time."""
    rng = torch.Generator().manual_seed(2)
    model = nn.Linear(3, 2, bias=False)
    tokens = torch.randn(5, 4, 3, generator=rng)
    scaler = torch.zeros(3)
    for n, sample in enumerate(tokens):
        scaler = scaler * n / (n + 1) + sample.T.norm(p=2, dim=1) ** 2 / (n + 1)
    wanted = model.weight.detach().abs() * scaler.sqrt()
    batches = [(tokens[:2], torch.zeros(2)), (tokens[2:], torch.zeros(3))]
    found = criterion("wanda")(
        model, (Layer("weight", "", "linear", (2, 3, 1, 1), (2, 3)),), batches
    )["weight"]
    torch.testing.assert_close(found[:, :, 0, 0], wanted)


def test_apoz_and_mean_activation_worked_by_hand() -> None:
    """Outputs x and 1 - x for x = -1, 0, 2, 3: above zero twice and twice, with means 5/4 and 3/4."""
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8, 2))
    model[0].weight.data = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
    model[0].bias.data = torch.tensor([0.0, 1.0])
    (conv, _), batches = (
        inventory(model, (1, 2, 2)),
        [(torch.tensor([-1.0, 0.0, 2.0, 3.0]).view(1, 1, 2, 2), torch.tensor([0]))],
    )
    assert criterion("apoz")(model, (conv,), batches)[conv.name].flatten().tolist() == [0.5, 0.5]
    assert criterion("mean_activation")(model, (conv,), batches)[conv.name].flatten().tolist() == [
        1.25,
        0.75,
    ]
