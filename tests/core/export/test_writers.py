"""Exports: masks round-trip in every format, and the exported script reproduces the measured
accuracy.
"""

import io
import json
import os
import runpy
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch.nn.utils import prune as torch_prune

from pruning_core.export.writers import (
    MASK_FORMATS,
    bundle,
    masks_safetensors,
    report_dict,
    script,
    stored,
    weights_safetensors,
)
from pruning_core.pipeline import choose_masks, measure_states, prune
from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig
from pruning_core.types import Finished
from pruning_core.workspace import Workspace, open_workspace

ROOT = Path(__file__).resolve().parents[3]
PLAN = Plan(
    model="lenet5",
    dataset="digits",
    sparsity=0.8,
    allocation="global",
    fine_tune=TrainConfig(epochs=1),
)
READERS = {
    "safetensors": load,
    "npz": lambda raw: {
        k: torch.from_numpy(v) for k, v in np.load(io.BytesIO(raw)).items() if k != "plan"
    },
    "pt": lambda raw: torch.load(io.BytesIO(raw), weights_only=True),
}


@pytest.fixture(scope="module")
def space() -> Workspace:
    return open_workspace(PLAN.model, PLAN.dataset)


@pytest.mark.parametrize("ending", MASK_FORMATS)
def test_masks_come_back_exactly_in_the_shape_of_the_parameter(
    space: Workspace, ending: str
) -> None:
    masks = stored(choose_masks(PLAN, space)[1], space.layers)
    found = READERS[ending](MASK_FORMATS[ending](masks, PLAN))
    assert found.keys() == masks.keys()
    for name, mask in found.items():
        assert mask.dtype == torch.bool
        assert mask.shape == space.model.get_parameter(name).shape
        assert torch.equal(mask, masks[name])


def test_the_plan_travels_inside_the_masks(space: Workspace) -> None:
    masks = stored(choose_masks(PLAN, space)[1], space.layers)
    raw = masks_safetensors(masks, PLAN)
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert Plan.from_json(header["__metadata__"]["plan"]) == PLAN
    archive = np.load(io.BytesIO(MASK_FORMATS["npz"](masks, PLAN)))
    assert Plan.from_json(str(archive["plan"])) == PLAN


def test_custom_from_mask_gives_the_same_weights_as_the_core(space: Workspace) -> None:
    done = measure_states(
        replace(PLAN, fine_tune=TrainConfig(epochs=0)),
        space,
        choose_masks(PLAN, space)[1],
        space.model,
    )
    model = open_workspace(PLAN.model, PLAN.dataset).model
    for name, mask in stored(done.masks, space.layers).items():
        path, _, parameter = name.rpartition(".")
        torch_prune.custom_from_mask(model.get_submodule(path), parameter, mask)
        kept = model.get_submodule(path).get_parameter(f"{parameter}_orig").detach()[mask]
        assert torch.equal(model.get_submodule(path).weight[mask], kept)
        assert not model.get_submodule(path).weight[~mask].any()


def test_weights_load_strictly_and_tied_tensors_do_not_stop_them(space: Workspace) -> None:
    model = open_workspace(PLAN.model, PLAN.dataset).model
    model.load_state_dict(load(weights_safetensors(space.model)))
    tied = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    assert load(weights_safetensors(tied)).keys() == tied.state_dict().keys()


def in_this_process(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    runpy.run_path(str(path), run_name="__main__")
    return capsys.readouterr().out


def by_another_python(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, path], capture_output=True, text=True, check=True, env=environment
    ).stdout


@pytest.mark.parametrize(
    ("model", "epochs", "printed"),
    [
        ("lenet5", 0, in_this_process),
        ("lenet5", 1, in_this_process),
        ("vit", 0, in_this_process),
        ("vit", 1, by_another_python),
    ],
)
def test_the_exported_script_prints_the_measured_accuracy(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    model: str,
    epochs: int,
    printed: Callable[..., str],
) -> None:
    plan = replace(PLAN, model=model, fine_tune=TrainConfig(epochs=epochs))
    space = open_workspace(plan.model, plan.dataset)
    *_, done = prune(plan, space)
    assert isinstance(done, Finished)
    (tmp_path / "masks.safetensors").write_bytes(
        masks_safetensors(stored(done.masks, space.layers), plan)
    )
    (tmp_path / "weights.safetensors").write_bytes(weights_safetensors(done.model))
    (tmp_path / "load_masks.py").write_text(script(plan, tuned=epochs > 0, whole_test=True))
    line = printed(tmp_path / "load_masks.py", capsys)
    shown = done.tuned if epochs else done.pruned
    assert line.split()[1] == f"{shown.top1:.6f}"
    assert f"of {shown.n} images" in line


def test_report_holds_every_state_with_n_and_interval(space: Workspace) -> None:
    *_, done = prune(PLAN, space)
    report = json.loads(json.dumps(report_dict(PLAN, done)))
    assert report["threads"] == torch.get_num_threads()
    assert set(report["measured"]) == {
        "dense",
        "pruned",
        "tuned",
    }  # LeNet-5 has no batch norm to recalibrate
    for found in report["measured"].values():
        low, high = found["interval_95"]
        assert found["n"] == len(space.dataset.test)
        assert low <= found["top1"] <= high
    assert report["computed"]["nonzeros"] < report["computed"]["parameters"]


def test_bundle_is_the_same_bytes_every_time() -> None:
    files = {"plan.json": PLAN.to_json().encode(), "a.bin": b"\x00\x01"}
    assert bundle(files) == bundle(files)
    assert zipfile.ZipFile(io.BytesIO(bundle(files))).read("a.bin") == b"\x00\x01"
