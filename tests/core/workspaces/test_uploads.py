"""An uploaded network opens everywhere by its name: workspace, plan, script, command line."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pruning_core.cli.main import main
from pruning_core.export import (
    masks_by_parameter,
    masks_safetensors,
    script_text,
    weights_safetensors,
)
from pruning_core.pipeline import prune
from pruning_core.plan import Plan
from pruning_core.sensitivity.grid_jobs import OpenByName
from pruning_core.training.config import TrainConfig
from pruning_core.types import Finished, PruningError
from pruning_core.workspaces import datasets_of, known_datasets, known_models, open_workspace
from pruning_core.zoo.uploads import Asked, images_folder, store_images, store_network
from tests.core.zoo.uploads.files import TRANSFORM, flowers, network, pt, zipped


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setenv("PRUNING_EXPLORER_DATA", str(tmp_path))
    images = store_images(zipped(flowers()), "flowers.zip", "me").name
    keep = torch.ones(64, 32, 3, 3)
    keep[:32] = 0
    masks = pt({"block2.conv.weight": keep, "block2.bn.bias": torch.ones(64)})
    content = pt({"state_dict": network().state_dict()})
    asked = Asked("vgg", images, TRANSFORM)
    name = store_network(content, "x.pt", asked, "me", masks).name
    return Plan(model=name, dataset=images, sparsity=0.6, fine_tune=TrainConfig(epochs=0))


def test_it_is_opened_pruned_and_exported(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    space = open_workspace(plan.model, plan.dataset)
    assert any("fifth of the images" in note for note in space.notes)
    assert any("read from 'state_dict'" in note for note in space.notes)
    assert set(space.removed_at_start) == {"block2.conv.weight"}
    *_, done = prune(replace(plan, start="zeros"), space)
    assert isinstance(done, Finished)
    assert not done.masks["block2.conv.weight"][:32].any()
    masks = masks_by_parameter(done.masks, space.layers)
    Path("masks.safetensors").write_bytes(masks_safetensors(masks, plan))
    script = script_text(plan, tuned=False, whole_test=True, space=space)
    exec(script, {"__file__": str(Path("load_masks.py").absolute())})
    assert f"accuracy {done.pruned.value:.6f}" in capsys.readouterr().out


def test_the_script_of_a_torchvision_network_does_not_need_this_package(
    plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from torchvision.models import get_model

    torch.manual_seed(0)
    content = pt(get_model("mnasnet0_5", num_classes=4).state_dict())
    asked = Asked("mnasnet0_5", plan.dataset, replace(TRANSFORM, height=16, width=16, resize=16))
    named = replace(asked, names=("x", "c", "b", "a"))
    plan = replace(plan, model=store_network(content, "x.pt", named, "me").name)
    space = open_workspace(plan.model, plan.dataset)
    *_, done = prune(plan, space)
    assert isinstance(done, Finished)
    (tmp_path / "weights.safetensors").write_bytes(weights_safetensors(space.model))
    masks = masks_by_parameter(done.masks, space.layers)
    (tmp_path / "masks.safetensors").write_bytes(masks_safetensors(masks, plan))
    script = script_text(plan, tuned=False, whole_test=True, space=space)
    assert "pruning_core" not in script
    shutil.copytree(images_folder(plan.dataset)[0], tmp_path / "images")
    exec(compile(script, "load_masks.py", "exec"), {"__file__": str(tmp_path / "load_masks.py")})
    assert f"accuracy {done.pruned.value:.6f}" in capsys.readouterr().out


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_lists_name_only_the_uploads_that_are_asked_for(plan: Plan) -> None:
    assert plan.model not in known_models()
    assert plan.dataset not in known_datasets()
    assert plan.model in known_models(plan.model, "vgg@000000")
    assert "vgg@000000" not in known_models(plan.model, "vgg@000000")
    assert known_datasets(plan.dataset)[plan.dataset].help.startswith("Uploaded images: 3 classes")
    assert datasets_of(plan.model) == (plan.dataset,)


def test_a_worker_process_opens_it_by_name(plan: Plan) -> None:
    assert OpenByName(plan, torch.device("cpu"))().layers
    missing = replace(plan, model="vgg@000000")
    with pytest.raises(PruningError, match="There is no upload 'vgg@000000'"):
        OpenByName(missing, torch.device("cpu"))()


def test_other_images_are_refused(plan: Plan) -> None:
    with pytest.raises(PruningError, match=r"was uploaded with the images flowers@"):
        open_workspace(plan.model, "digits")
    with pytest.raises(PruningError, match="There is no upload 'vgg@000000'"):
        open_workspace("vgg@000000", plan.dataset)


def test_the_command_line_lists_and_runs_it(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    assert plan.model in capsys.readouterr().out
    Path("plan.json").write_text(plan.to_json(), encoding="utf-8")
    assert main(["run", "plan.json", "--out", "results", "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["plan"]["model"] == plan.model
