"""Every flow on networks with frozen, never called and tied layers."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from pruning_core.granularity import granularity
from pruning_core.model.inventory import inventory, stored
from pruning_core.pipeline import flow_context, group_scores_of, prune
from pruning_core.plan import Plan
from pruning_core.sensitivity.preview import preview
from pruning_core.sensitivity.scan import scan
from pruning_core.training.config import TrainConfig
from pruning_core.types import Finished, Layer, Pruned, PruningError
from pruning_core.workspaces import Workspace
from tests.cases import check_each
from tests.core.flows.test_flows import TEXTS
from tests.core.quarters import quarters

TRAINING = TrainConfig(epochs=1, batch_size=10, lr=0.05)
CPU = torch.device("cpu")


class Network(nn.Module):
    """Layers that are frozen, tied, never called, and registered earlier under another name."""

    def __init__(self) -> None:
        super().__init__()
        self.earlier = nn.Parameter(torch.randn(12, 12) / 3)
        self.conv = nn.Conv2d(1, 8, 3).requires_grad_(False)
        self.norm = nn.BatchNorm2d(8).requires_grad_(False)
        self.first = nn.Linear(128, 12)
        self.frozen = nn.Linear(12, 12).requires_grad_(False)
        self.named_twice = nn.Linear(12, 12)
        self.named_twice.weight = self.earlier
        self.third = nn.Linear(12, 12)
        self.tied = nn.Linear(12, 12)
        self.tied.weight = self.third.weight
        self.unused = nn.Linear(6, 6)
        self.out = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(self.norm(self.conv(x)).relu().flatten(1)).relu()
        for layer in (self.frozen, self.named_twice, self.third, self.tied):
            hidden = layer(hidden).relu()
        return self.out(hidden)


def space_of(change: Callable[[Network], object] = lambda network: None) -> Workspace:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network()
    change(network)
    data = quarters().dataset
    return Workspace(network.eval(), data, inventory(network, data.shape), ())


def flags(model: nn.Module) -> dict[str, bool]:
    return {name: parameter.requires_grad for name, parameter in model.named_parameters()}


def values(masks: dict[str, Tensor], layer: Layer, model: nn.Module) -> Tensor:
    """The weights that are kept."""
    return model.get_parameter(layer.name)[stored(masks[layer.name], layer)]


def runs(text: str) -> None:
    space = space_of()
    before = flags(space.model)
    plan = Plan(flow=text, allocation="global", fine_tune=TRAINING)
    *events, done = prune(plan, space, CPU)
    assert isinstance(done, Finished)
    assert flags(space.model) == before
    models = [done.model, *(event.model for event in events if isinstance(event, Pruned))]
    assert all(flags(model) == before for model in models), "a frozen flag was changed"
    for layer in (layer for layer in space.layers if layer.name in done.masks):
        kept = values(done.masks, layer, done.model)
        if not before.get(layer.name, True):
            assert torch.equal(kept, values(done.masks, layer, space.model)), layer.name
        elif done.tuned and layer.macs:
            assert not torch.equal(kept, values(done.masks, layer, space.model)), layer.name


def test_every_flow_runs_and_leaves_frozen_layers_as_they_are() -> None:
    check_each(TEXTS, runs)


def test_frozen_layers_are_ranked_by_their_own_gradients() -> None:
    """A slope of zero would remove a frozen layer first, whatever it does."""
    for text in ("seven_dyn:classifier=1", "platon:window=2"):
        plan = Plan(flow=text, allocation="global", fine_tune=TRAINING)
        *_, one = prune(plan, space_of(), CPU)
        assert isinstance(one, Finished)
        assert one.report.kept["frozen.weight"] > 0.3, text
        assert one.report.kept["unused.weight"] < 0.1, text


def test_rigl_exchanges_nothing_in_a_frozen_layer() -> None:
    plan = Plan(flow="rigl:updates=8", sparsity=0.5, fine_tune=TRAINING)
    *events, _ = prune(plan, space_of(), CPU)
    masks = [event.masks for event in events if isinstance(event, Pruned)]
    assert len(masks) > 3
    assert all(torch.equal(m["frozen.weight"], masks[0]["frozen.weight"]) for m in masks)
    assert not torch.equal(masks[-1]["first.weight"], masks[0]["first.weight"])


def test_new_initial_weights_leave_frozen_parameters() -> None:
    space = space_of(lambda network: delattr(network, "earlier"))
    fresh = flow_context(Plan(), space, CPU).plan.fresh_model(3)
    for name, value in space.model.named_parameters():
        same = torch.equal(value, fresh.get_parameter(name))
        assert same == (not value.requires_grad or "norm" in name), name


def test_a_network_without_a_trained_parameter_is_refused() -> None:
    space = space_of(lambda network: network.requires_grad_(False))
    with pytest.raises(PruningError, match="no parameter that can be trained"):
        list(prune(Plan(fine_tune=TRAINING), space, CPU))
    space.model.get_submodule("unused").requires_grad_(True)
    with pytest.raises(PruningError, match="No trained parameter changes the loss"):
        list(prune(Plan(fine_tune=TRAINING), space, CPU))


def test_a_preview_gives_a_layer_that_is_never_called_bands_without_change() -> None:
    space = space_of()
    for name in ("fine", "filter"):
        _, groups = group_scores_of(replace(Plan(), granularity=name), space)
        given = (space.model, space.layers, groups, granularity(name), space.dataset.val)
        points = list(scan(*given, grid=(0.5, 0.9), device=CPU))
        *_, last = preview(*given, grid=(0.5, 0.9), device=CPU, share=1.0)
        dense = points[0].value
        bands = [band for band in last.bands if band.parameter == "unused.weight"]
        assert [band.interval for band in bands] == [(dense, dense)] * 3
        assert [band.value for band in bands] == [dense] * 3
        assert all(
            band.interval[0] <= point.value <= band.interval[1]
            for band, point in zip(last.bands, points, strict=True)
        )
