"""Removed filters: the masked network equals the thinned one, and exports hold all masks."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
import torch_pruning
from safetensors.torch import load
from torch import Tensor, nn

from pruning_core.evaluation.metrics import measure
from pruning_core.export import masks_by_parameter, masks_safetensors
from pruning_core.model.coupling.dependent_masks import is_exact
from pruning_core.pipeline import choose_masks, dependent_masks_of, masked_copy, prune
from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig
from pruning_core.types import Finished, Masks, Pruned
from pruning_core.workspaces import Workspace, open_workspace
from tests.core.model.coupling.test_foreign import known_of

BLOCK = "layer2.1.conv1.weight"
PLAN = Plan(
    model="resnet20",
    dataset="digits",
    granularity="filter",
    allocation="manual",
    overrides=((BLOCK, 0.5),),
    probe=64,
)


@pytest.fixture(scope="module")
def space() -> Workspace:
    return open_workspace(PLAN.model, PLAN.dataset)


def thinned(model: nn.Module, masks: Masks) -> nn.Module:
    """The model without the filters that the mask removed, made smaller by torch-pruning."""
    work = deepcopy(model)
    graph = torch_pruning.DependencyGraph().build_dependency(
        work, torch.zeros(1, 1, 8, 8), verbose=False
    )
    rows = (~masks[BLOCK].flatten(1).any(1)).nonzero().flatten().tolist()
    conv = work.get_submodule(BLOCK.removesuffix(".weight"))
    graph.get_pruning_group(conv, torch_pruning.prune_conv_out_channels, rows).prune()
    assert conv.out_channels == 16
    return work.eval()


def test_masked_equals_thinned_after_pruning_and_after_an_epoch_of_training(
    space: Workspace,
) -> None:
    x = next(iter(space.dataset.test.batches(64)))[0]
    plan = replace(PLAN, fine_tune=TrainConfig(epochs=1, lr=0.05))
    for event in prune(plan, space, torch.device("cpu")):
        if isinstance(event, Pruned | Finished):
            small = thinned(event.model, event.masks)
            with torch.inference_mode():
                torch.testing.assert_close(event.model(x), small(x), rtol=1e-5, atol=1e-5)
            norm = event.model.get_submodule("layer2.1.bn1")
            for part in ("weight", "bias"):
                assert int((norm.get_parameter(part) == 0).sum()) == 16
    assert isinstance(event, Finished)
    assert not torch.equal(event.model.get_parameter(BLOCK), space.model.get_parameter(BLOCK))


def test_without_dependent_masks_the_removed_filters_shift_has_an_effect(space: Workspace) -> None:
    _, masks = choose_masks(PLAN, space)
    x = next(iter(space.dataset.test.batches(64)))[0]
    without_dependent = deepcopy(space.model)
    without_dependent.get_parameter(BLOCK).data.mul_(masks[BLOCK])
    small = thinned(without_dependent, masks)
    with torch.inference_mode():
        assert (without_dependent(x) - small(x)).abs().max() > 0.01


def test_only_whole_outputs_have_dependent_masks(space: Workspace) -> None:
    """A row that fine-grained pruning empties by chance keeps its bias and shift."""
    masks = choose_masks(PLAN, space)[1]
    assert set(dependent_masks_of(PLAN, space, masks)) == {
        "layer2.1.bn1.weight",
        "layer2.1.bn1.bias",
    }
    assert dependent_masks_of(replace(PLAN, granularity="fine"), space, masks) == {}


def test_a_removed_heads_biases_are_masked() -> None:
    plan = Plan(model="vit", dataset="digits", granularity="head", sparsity=0.5, probe=64)
    space = open_workspace(plan.model, plan.dataset)
    masks = choose_masks(plan, space)[1]
    dependent = dependent_masks_of(plan, space, masks)
    assert set(dependent) == {f"blocks.{k}.attention.in_proj_bias" for k in range(4)}
    rows = masks["blocks.0.attention.in_proj_weight"].flatten(1).any(1)
    assert torch.equal(dependent["blocks.0.attention.in_proj_bias"], rows)
    assert not rows.all()
    assert (
        not masked_copy(plan, space, masks)
        .get_parameter("blocks.0.attention.in_proj_bias")[~rows]
        .any()
    )


def test_the_exported_masks_hold_the_dependent_masks(space: Workspace) -> None:
    masks = choose_masks(PLAN, space)[1]
    counts = load(
        masks_safetensors(
            masks_by_parameter(masks, space.layers, dependent_masks_of(PLAN, space, masks)), PLAN
        )
    )
    removed = ~masks[BLOCK].flatten(1).any(1)
    assert int(removed.sum()) == 16
    assert torch.equal(~counts["layer2.1.bn1.bias"], removed)
    assert torch.equal(~counts["layer2.1.bn1.weight"], removed)


def test_dependent_entries_count_as_zeros(space: Workspace) -> None:
    masks = choose_masks(PLAN, space)[1]
    dependent = dependent_masks_of(PLAN, space, masks)
    counts = measure(space.model, space.layers, masks, dependent)
    model = masked_copy(PLAN, space, masks)
    assert counts.nonzeros == sum(int((p != 0).sum()) for p in model.parameters())
    assert measure(space.model, space.layers, masks).nonzeros == counts.nonzeros + 32
    assert counts.kept == measure(space.model, space.layers, masks).kept


class Summed(nn.Module):
    """The sum over channels of the mean over pixels."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(-1).sum(1, keepdim=True)


def test_a_sum_over_channels_is_an_output_of_which_no_class_is_removed() -> None:
    summed = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(2), Summed())
    _, layers, (own,) = known_of(summed)
    assert own.reason == "The network gives a mean, a sum or a maximum over them."
    masks = {"0.weight": torch.arange(8).view(8, 1, 1, 1).expand(layers[0].shape) > 2}
    assert not is_exact(layers, masks, (own,), heads=False)
