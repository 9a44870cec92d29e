"""Masks in every file format: reading a file gives the same masks."""

import io
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch import Tensor
from torch.nn.utils import prune as torch_prune

from pruning_core.export import MASK_FORMATS, masks_by_parameter, masks_safetensors
from pruning_core.pipeline import choose_masks, measure_states
from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig
from pruning_core.workspaces import Workspace, open_workspace

READERS: dict[str, Callable[[bytes], dict[str, Tensor]]] = {
    "safetensors": load,
    "npz": lambda raw: {
        name: torch.from_numpy(array)
        for name, array in np.load(io.BytesIO(raw)).items()
        if name != "plan"
    },
    "pt": lambda raw: torch.load(io.BytesIO(raw), weights_only=True),
}


@pytest.mark.parametrize("ending", MASK_FORMATS)
def test_a_mask_file_gives_back_the_masks_in_the_shapes_of_the_parameters(
    plan: Plan, space: Workspace, ending: str
) -> None:
    masks = masks_by_parameter(choose_masks(plan, space)[1], space.layers)
    read = READERS[ending](MASK_FORMATS[ending](masks, plan))
    assert read.keys() == masks.keys()
    for name, mask in read.items():
        assert mask.dtype == torch.bool
        assert mask.shape == space.model.get_parameter(name).shape
        assert torch.equal(mask, masks[name])


def test_safetensors_and_npz_files_hold_the_plan(plan: Plan, space: Workspace) -> None:
    masks = masks_by_parameter(choose_masks(plan, space)[1], space.layers)
    raw = masks_safetensors(masks, plan)
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert Plan.from_json(header["__metadata__"]["plan"]) == plan
    archive = np.load(io.BytesIO(MASK_FORMATS["npz"](masks, plan)))
    assert Plan.from_json(str(archive["plan"])) == plan


def test_custom_from_mask_gives_the_weights_of_the_core(plan: Plan, space: Workspace) -> None:
    untrained = replace(plan, fine_tune=TrainConfig(epochs=0))
    run = measure_states(untrained, space, choose_masks(plan, space)[1], space.model)
    model = open_workspace(plan.model, plan.dataset).model
    for name, mask in masks_by_parameter(run.masks, space.layers).items():
        path, _, parameter = name.rpartition(".")
        torch_prune.custom_from_mask(model.get_submodule(path), parameter, mask)
        kept = model.get_submodule(path).get_parameter(f"{parameter}_orig").detach()[mask]
        weight = model.get_submodule(path).weight
        assert isinstance(weight, Tensor)
        assert torch.equal(weight[mask], kept)
        assert not weight[~mask].any()
