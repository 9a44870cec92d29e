"""Counts of a masked model by hand, and of a thinned one against torch-pruning's network."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
import torch_pruning
from torch import nn

from pruning_core.evaluation.metrics import measure
from pruning_core.model.coupling.dependent_masks import dead_inputs, dependent_masks
from pruning_core.model.inventory import inventory
from pruning_core.pipeline import choose_masks, counts, masked_copy
from pruning_core.plan import Plan
from pruning_core.types import Layer, PruningError
from pruning_core.workspaces import open_workspace
from tests.core.model.coupling.test_trace import masks_without_channels, thinned, traced

Toy = tuple[nn.Sequential, tuple[Layer, ...]]


@pytest.fixture
def toy() -> Toy:
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, 3)
    ).eval()
    with torch.no_grad():
        model.get_parameter("0.weight").fill_(1)
        model.get_parameter("3.weight").fill_(1)
        model.get_parameter("3.bias").fill_(1)
    return model, inventory(model, (1, 4, 4))


def test_dense_counts(toy: Toy) -> None:
    report = measure(*toy, {})
    assert report.parameters == 18 + 4 + 96 + 3
    assert report.nonzeros == 121 - 2  # the batch norm's shifts start at zero
    assert report.macs == report.macs_effective == 18 * 16 + 96
    assert (
        report.dense_bytes == 4 * (121 + 4) + 8
    )  # running mean and variance, and the 64-bit counter
    assert report.sparsity_masked == 0
    assert report.kept == {"0.weight": 1.0, "3.weight": 1.0}


def test_masked_counts(toy: Toy) -> None:
    model, layers = toy
    mask = torch.ones(2, 1, 3, 3, dtype=torch.bool)
    mask[1] = False
    report = measure(model, layers, {"0.weight": mask})
    assert report.nonzeros == 119 - 9
    assert report.macs == 384
    assert report.macs_effective == 9 * 16 + 96
    assert report.sparsity_masked == 0.5
    assert report.sparsity_model == pytest.approx(11 / 121)
    assert report.kept == {"0.weight": 0.5, "3.weight": 1.0}
    assert model.get_parameter("0.weight").all()


def test_zeros_of_the_weight_itself_count(toy: Toy) -> None:
    model, layers = toy
    with torch.no_grad():
        model.get_parameter("3.weight")[:, 0] = 0
    mask = torch.ones(3, 32, 1, 1, dtype=torch.bool)
    mask[:, :2] = False
    report = measure(model, layers, {"3.weight": mask})
    assert report.nonzeros == 119 - 6
    assert report.sparsity_masked == pytest.approx(6 / 96)


def test_a_tied_weight_counts_once() -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    layers = inventory(model, (1, 4, 4))
    assert measure(model, layers, {}).parameters == 16
    assert (
        measure(model, layers, {"0.weight": torch.zeros(4, 4, 1, 1, dtype=torch.bool)}).nonzeros
        == 0
    )


def test_masks_that_do_not_fit_are_refused_in_a_sentence(toy: Toy) -> None:
    with pytest.raises(PruningError, match="no layer"):
        measure(*toy, {"9.weight": torch.ones(1, 1, 1, 1, dtype=torch.bool)})
    with pytest.raises(PruningError, match=r"\(1, 1, 1, 1\); its layer needs"):
        measure(*toy, {"0.weight": torch.ones(1, 1, 1, 1, dtype=torch.bool)})


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", ["lenet5", "lenet_300_100", "vgg", "mobilenet", "resnet20"])
def test_thinned_counts_are_those_of_torch_prunings_network(name: str) -> None:
    """Every third channel of each coupling is removed, in all its members."""
    model, layers, found, shape = traced(name)
    masks = masks_without_channels(found, layers)
    report = measure(
        model,
        layers,
        masks,
        dependent_masks(model, layers, masks, found),
        dead_inputs(model, layers, masks, found),
    )
    small = thinned(model, found, shape)
    assert report.thinned_nonzeros == size(small) < report.nonzeros
    assert (
        report.thinned_macs
        == sum(layer.macs for layer in inventory(small, shape))
        < report.macs_effective
    )


def test_half_of_the_filters_of_vgg_leave_a_quarter_of_it() -> None:
    plan = Plan(
        model="vgg", dataset="digits", granularity="filter", allocation="uniform", sparsity=0.5
    )
    space = open_workspace(plan.model, plan.dataset)
    _, masks = choose_masks(plan, space)
    report = counts(plan, space, masks)
    small = deepcopy(space.model)
    graph = torch_pruning.DependencyGraph().build_dependency(
        small, torch.zeros(1, 1, 8, 8), verbose=False
    )
    for name, mask in masks.items():
        rows = (~mask.flatten(1).any(1)).nonzero().flatten().tolist()
        conv = small.get_submodule(name.removesuffix(".weight"))
        graph.get_pruning_group(conv, torch_pruning.prune_conv_out_channels, rows).prune()
    x = next(iter(space.dataset.test.batches(32)))[0]
    with torch.inference_mode():
        torch.testing.assert_close(
            masked_copy(plan, space, masks)(x), small.eval()(x), rtol=1e-4, atol=1e-4
        )
    assert report.thinned_nonzeros == size(small)
    assert report.thinned_macs == sum(layer.macs for layer in inventory(small, (1, 8, 8)))
    assert (
        report.parameters / report.nonzeros < 2 < 3.9 < report.parameters / report.thinned_nonzeros
    )


def test_channels_that_another_branch_keeps_are_still_read() -> None:
    plan = Plan(model="resnet20", dataset="digits", granularity="filter", allocation="manual")
    space = open_workspace(plan.model, plan.dataset)
    for name, freed in (("layer1.0.conv2.weight", 0), ("layer1.0.conv1.weight", 8 * 16 * 9)):
        _, masks = choose_masks(replace(plan, overrides=((name, 0.5),)), space)
        report = counts(plan, space, masks)
        assert report.thinned_nonzeros is not None
        assert report.nonzeros - report.thinned_nonzeros == freed


def test_thinned_counts_are_none_without_whole_outputs_or_couplings() -> None:
    plan = Plan(model="lenet5", dataset="digits", sparsity=0.5)
    space = open_workspace(plan.model, plan.dataset)
    filters = replace(plan, granularity="filter")
    assert counts(plan, space, choose_masks(plan, space)[1]).thinned_nonzeros is None
    masks = choose_masks(filters, space)[1]
    assert counts(filters, space, masks).thinned_macs is not None
    space.__dict__["tied"] = ((), "It cannot be traced.")
    assert (found := counts(filters, space, masks)).thinned_macs is found.thinned_nonzeros is None
