"""Criteria that read the gradient, against gates and masks."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from pruning_core.criteria import CRITERIA, CriterionBase, criterion, scores_by_part
from pruning_core.granularity import granularity
from pruning_core.masks import group_scores, mean_group_scores
from pruning_core.types import Layer
from tests.core.criteria.six_images import BATCHES, X, Y, network


def gated(model: nn.Module, layer: Layer, gate: Tensor, images: slice) -> Tensor:
    """The mean loss of these images with the layer's weight multiplied by a gate."""
    weight = model.get_parameter(layer.name).detach()
    return cross_entropy(
        functional_call(
            model, {layer.name: weight * gate.view(-1, *[1] * (weight.ndim - 1))}, (X[images],)
        ),
        Y[images],
    )


def test_taylor_of_a_group_is_the_mean_squared_slope_of_its_gate_over_mini_batches() -> None:
    """(dL/dz)^2 for a gate z = 1 on each filter, as in the paper's section 3.2."""
    model, layers = network()
    how = CRITERIA["taylor_group"]
    assert isinstance(how, CriterionBase)
    assert how.mini_batch == 32
    g = granularity("filter")
    for size in (2, 4):
        parts = scores_by_part(replace(how, mini_batch=size), model, layers[:-1], BATCHES)
        groups = mean_group_scores(parts, layers[:-1], g, how.pool)
        for layer in layers[:-1]:
            gate = torch.ones(layer.shape[0], requires_grad=True)
            squares = [
                torch.autograd.grad(gated(model, layer, gate, slice(at, at + size)), gate)[0] ** 2
                for at in range(0, len(Y), size)
            ]
            wanted = torch.stack(squares).mean(0)
            torch.testing.assert_close(groups[layer.name][0], wanted, rtol=1e-3, atol=1e-10)


def test_taylor_of_the_group_removes_first_a_group_whose_terms_cancel() -> None:
    scores = {"w": torch.tensor([[3.0, -3.0], [1.0, 1.0]])[:, :, None, None]}
    layers = (Layer("w", "", "conv2d", (2, 2, 1, 1), (2, 2, 1, 1)),)
    assert group_scores(scores, layers, granularity("filter"), CRITERIA["taylor_group"].pool)[
        "w"
    ].tolist() == [[0.0, 4.0]]
    assert group_scores(scores, layers, granularity("filter"), CRITERIA["taylor"].pool)[
        "w"
    ].tolist() == [[3.0, 1.0]]


def test_snip_is_the_normalised_slope_of_the_masks() -> None:
    """|dL/dc| at c = 1, divided by its sum over all layers, with all weights written as w c."""
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
    assert sum(scores.sum().item() for scores in found.values()) == pytest.approx(1.0, abs=1e-5)


def test_snip_ranks_single_weights_as_taylor_and_a_group_by_its_sum() -> None:
    model, layers = network()
    snip, taylor = (criterion(name)(model, layers, BATCHES) for name in ("snip", "taylor"))
    ratios = torch.cat([(snip[x.name] / taylor[x.name])[taylor[x.name] > 1e-6] for x in layers])
    assert ratios.std() < 1e-5 * ratios.mean()
    groups = group_scores(snip, layers[:1], granularity("filter"), CRITERIA["snip"].pool)[
        layers[0].name
    ]
    torch.testing.assert_close(groups[0], snip[layers[0].name].flatten(1).sum(1))
