"""An uploaded network opens everywhere by its name: workspace, plan, script, command line."""

import json
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pruning_core.cli.main import main
from pruning_core.evaluation.accuracy import Judge
from pruning_core.pipeline import prune
from pruning_core.plan import Plan
from pruning_core.sensitivity.grid_jobs import OpenByName
from pruning_core.training.config import TrainConfig
from pruning_core.types import Finished, PruningError
from pruning_core.workspaces import datasets_of, known_datasets, known_models, open_workspace
from pruning_core.zoo.uploads import Statement, store_images, store_network
from tests.core.zoo.uploads.files import TRANSFORM, flowers, network, pt, zipped


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setenv("PRUNING_EXPLORER_DATA", str(tmp_path))
    images = store_images(zipped(flowers()), "flowers.zip", "me").name
    keep = torch.ones(64, 32, 3, 3)
    keep[:32] = 0
    masks = pt({"block2.conv.weight": keep, "block2.bn.bias": torch.ones(64)})
    content = pt({"state_dict": network().state_dict()})
    asked = Statement("vgg", images, TRANSFORM)
    name = store_network(content, "x.pt", asked, "me", masks).name
    return Plan(model=name, dataset=images, sparsity=0.6, fine_tune=TrainConfig(epochs=0))


def test_it_is_opened_and_pruned(plan: Plan) -> None:
    space = open_workspace(plan.model, plan.dataset)
    assert any("fifth of the images" in note for note in space.notes)
    assert any("read from 'state_dict'" in note for note in space.notes)
    assert set(space.removed_at_start) == {"block2.conv.weight"}
    *_, done = prune(replace(plan, start="zeros"), space)
    assert isinstance(done, Finished)
    assert not done.masks["block2.conv.weight"][:32].any()


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


def uploaded(files: dict[str, bytes], classes: int, names: tuple[str, ...] = ()) -> Plan:
    images = store_images(zipped(files), "x.zip", "me").name
    content = pt(network(classes).state_dict())
    stored = store_network(content, "x.pt", Statement("vgg", images, TRANSFORM, names), "me")
    return Plan(model=stored.name, dataset=images, granularity="filter", criterion="taylor")


def test_the_task_follows_outputs_and_folders(
    plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    """One output: binary. No class folders: agreement, whose script reads the dense network."""
    two = flowers(5, "", "ab")
    alone = {name.replace("/", ""): png for name, png in two.items()}
    cases = (
        (uploaded(two, 1), "binary", ("a", "b"), "above zero it means 'b'"),
        (uploaded(two, 1, ("a",)), "binary", ("b", "a"), "above zero it means 'a'"),
        (uploaded(alone, 3), "agreement", ("output 0", "output 1", "output 2"), "agreement"),
        (uploaded(flowers(5, "x/", "a"), 2, ("p", "q")), "agreement", ("p", "q"), "agreement"),
    )
    values = []
    for chosen, task, classes, note in cases:
        space = open_workspace(chosen.model, chosen.dataset)
        assert (space.dataset.task.name, space.dataset.classes) == (task, classes)
        assert any(note in sentence for sentence in space.notes)
        values.append(Judge.of(space.dataset).evaluate(space.model, space.dataset.test).value)
    assert values[0] == pytest.approx(1 - values[1])
    assert values[2:] == [1.0, 1.0]
    binary = replace(cases[1][0], fine_tune=plan.fine_tune)
    *_, done = prune(binary, open_workspace(binary.model, binary.dataset))
    assert isinstance(done, Finished)
    assert done.report.sparsity_masked > 0
    chosen = replace(cases[2][0], fine_tune=plan.fine_tune)
    Path("plan.json").write_text(chosen.to_json(), encoding="utf-8")
    assert main(["run", "plan.json", "--out", "results", "--device", "cpu", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)["measured"]["pruned"]["value"]
    for name, png in alone.items():
        Path("results/images").mkdir(exist_ok=True)
        Path("results/images", name).write_bytes(png)
    runpy.run_path("results/load_masks.py")
    assert capsys.readouterr().out.startswith(f"agreement with the dense network {printed:.6f}")
    for files, names, words in (
        (flowers(), (), "needs images of two classes"),
        (alone, (), "the images have no classes"),
        (two, ("c",), "'a' or 'b'"),
    ):
        with pytest.raises(PruningError, match=words):
            uploaded(files, 1, names)
