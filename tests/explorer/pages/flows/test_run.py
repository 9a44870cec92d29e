"""Which layers' masks a flow records, and one layer's masks over time."""

import pytest
import torch

from explorer.pages.flows import run
from explorer.pages.flows.run import flow_events, mask_history
from explorer.training.engine import mask_updates_of
from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig
from pruning_core.types import Finished
from pruning_core.workspaces import Workspace, open_workspace

PLAN = Plan(
    model="lenet5", schedule="iterative:2", sparsity=0.8, fine_tune=TrainConfig(epochs=0), probe=64
)


@pytest.fixture(scope="module")
def space() -> Workspace:
    return open_workspace("lenet5", "digits")


def test_the_masks_of_all_layers_of_a_small_network_are_recorded(space: Workspace) -> None:
    events = tuple(flow_events(PLAN, space, None))
    updates = mask_updates_of(events)
    assert len(updates) == 2
    assert updates[0].evaluation.n == 64
    assert isinstance(events[-1], Finished)
    for layer in space.layers:
        history = mask_history(updates, layer)
        assert history is not None
        assert history.mask(0).all()
        assert torch.equal(history.mask(2), events[-1].masks[layer.name])


def test_only_the_masks_of_the_chosen_layer_of_a_large_network_are_recorded(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "MOST_WEIGHTS", sum(layer.numel for layer in space.layers) - 1)
    updates = mask_updates_of(tuple(flow_events(PLAN, space, "fc1.weight")))
    by_name = {layer.name: mask_history(updates, layer) for layer in space.layers}
    assert [name for name, history in by_name.items() if history] == ["fc1.weight"]


def test_no_layer_has_a_history_before_the_first_mask_update(space: Workspace) -> None:
    assert mask_history((), space.layers[0]) is None
