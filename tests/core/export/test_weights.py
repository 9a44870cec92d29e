"""Weights as a safetensors file."""

import torch
from safetensors.torch import load

from pruning_core.export import weights_safetensors
from pruning_core.plan import Plan
from pruning_core.workspaces import Workspace, open_workspace


def test_exported_weights_load_strictly(plan: Plan, space: Workspace) -> None:
    model = open_workspace(plan.model, plan.dataset).model
    model.load_state_dict(load(weights_safetensors(space.model)))


def test_tied_weights_are_written_under_each_name() -> None:
    tied = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    assert load(weights_safetensors(tied)).keys() == tied.state_dict().keys()
