"""Networks of somebody else, from the file to the script: each by its task's own value."""

import csv
import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.utils import prune as torch_prune

from pruning_core import (
    Finished,
    Plan,
    TrainConfig,
    choose_masks,
    open_workspace,
    prune,
    scan_plan,
    workspace,
)
from pruning_core.cli.main import main
from pruning_core.evaluation.accuracy import Judge
from pruning_core.export import (
    masks_by_parameter,
    masks_safetensors,
    script_text,
    value_line,
)
from pruning_core.subjects import subject_files
from pruning_core.types import Evaluation
from pruning_core.workspaces import Workspace
from tests.core.toy import same_state
from tests.third_party import run_script, write_package

PACKAGE = "third_package"
NETWORKS = {
    "pictures": ("Classifier", "loaders", "accuracy"),
    "looking": ("Looking", "loaders", "accuracy"),
    "scenes": ("Segmenter", "scenes", "mean IoU"),
    "series": ("Forecaster", "series", "RMSE"),
    "texts": ("Writer", "texts", "perplexity"),
}
"""Subject -> class, data function, value."""
TUNE = TrainConfig(epochs=1, batch_size=10, lr=0.01, optimizer="adamw")


@dataclass
class Run:
    """What the commands wrote for one network, with 50% of its weights removed."""

    name: str
    plan: Plan
    space: Workspace
    folder: Path

    def measured(self, weights: str = "") -> Evaluation:
        """The value of the dense network, or with the weights in a file, on the test split."""
        model = deepcopy(self.space.model)
        if weights:
            model.load_state_dict(load_file(self.folder / weights))
        data = self.space.dataset
        return Judge.of(data).evaluate(model, data.test, "cpu")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("third"), PACKAGE, every=True)


@pytest.fixture(scope="module", params=NETWORKS)
def run(request: pytest.FixtureRequest, file: Path) -> Iterator[Run]:
    name = request.param
    plan = Plan(model=name, dataset=f"{name}_data", probe=10, fine_tune=TUNE)
    folder = file.parent / name
    folder.mkdir()
    (folder / "plan.json").write_text(plan.to_json())
    common = (str(folder / "plan.json"), "--subject", str(file))
    assert main(["run", *common, "--out", str(folder), "--device", "cpu"]) == 0
    grid = ("--out", str(folder / "curves.csv"), "--grid", "0.5,0.9", "--device", "cpu")
    assert main(["scan", *common, *grid]) == 0
    with subject_files([file]):
        yield Run(name, plan, open_workspace(name, f"{name}_data"), folder)


def test_the_report_has_the_tasks_own_value(run: Run) -> None:
    measured = json.loads((run.folder / "report.json").read_text())["measured"]
    label = NETWORKS[run.name][2]
    key = "top1" if label == "accuracy" else "value"
    assert key == "top1" or {state["value_is"] for state in measured.values()} == {label}
    assert measured["dense"][key] == pytest.approx(run.measured().value)
    assert measured["tuned"][key] == pytest.approx(run.measured("weights.safetensors").value)
    assert measured["dense"][key] != measured["pruned"][key]


def test_removed_weights_stay_zero_in_training(run: Run) -> None:
    weights = load_file(run.folder / "weights.safetensors")
    masks = load_file(run.folder / "masks.safetensors")
    for name, mask in masks.items():
        assert not weights[name][~mask].any()
        assert (~mask).float().mean() == pytest.approx(0.5, abs=0.02)
    assert not same_state(run.space.model, weights)


def test_the_scan_has_every_layer_and_starts_at_the_dense_value(run: Run) -> None:
    rows = list(csv.DictReader((run.folder / "curves.csv").read_text().splitlines()))
    assert [row["parameter"] for row in rows[::3]] == [layer.name for layer in run.space.layers]
    data = run.space.dataset
    dense = Judge.of(data).evaluate(run.space.model, data.val, "cpu").value
    column = "top1" if NETWORKS[run.name][2] == "accuracy" else "value"
    values = [float(row[column]) for row in rows]
    assert values[::3] == pytest.approx([dense] * len(run.space.layers), abs=1e-5)
    assert len(set(values)) > 1


def test_the_script_prints_the_value_without_our_package(run: Run) -> None:
    assert run_script(run.folder) == value_line(run.measured("weights.safetensors"))


def torch_masks(space: Workspace, amount: float, *, globally: bool) -> dict[str, torch.Tensor]:
    """The masks of torch.nn.utils.prune, by layer."""
    model = deepcopy(space.model)
    names = [layer.name.rpartition(".") for layer in space.layers]
    places: Any = [(model.get_submodule(path), name) for path, _, name in names]
    if globally:
        torch_prune.global_unstructured(places, torch_prune.L1Unstructured, amount=amount)
    else:
        for module, name in places:
            torch_prune.l1_unstructured(module, name, amount)
    return {
        layer.name: getattr(module, f"{name}_mask").bool()
        for layer, (module, name) in zip(space.layers, places, strict=True)
    }


def test_masks_and_the_scripts_value_are_those_of_torch(run: Run, tmp_path: Path) -> None:
    for allocation in ("uniform", "global"):
        for amount in (0.3, 0.62):
            plan = replace(run.plan, allocation=allocation, sparsity=amount)
            _, masks = choose_masks(plan, run.space)
            expected = torch_masks(run.space, amount, globally=allocation == "global")
            assert masks.keys() == expected.keys()
            own = masks_by_parameter(masks, run.space.layers)
            for name, mask in expected.items():
                assert torch.equal(own[name], mask), (allocation, amount, name)
    model = deepcopy(run.space.model)
    with torch.no_grad():  # in place: torch's pruning would separate tied weights
        for name, mask in expected.items():
            model.get_parameter(name).mul_(mask)
    data = run.space.dataset
    measured = Judge.of(data).evaluate(model, data.test, "cpu")
    (tmp_path / "masks.safetensors").write_bytes(masks_safetensors(own, plan))
    (tmp_path / "load_masks.py").write_text(script_text(plan, run.space, tuned=False))
    assert run_script(tmp_path) == value_line(measured)


def test_python_opens_prunes_trains_and_scans_it_with_the_same_results(run: Run) -> None:
    class_name, load, _ = NETWORKS[run.name]
    network = getattr(import_module(f"{PACKAGE}.nets"), class_name)()
    network.load_state_dict(run.space.model.state_dict())
    splits = getattr(import_module(f"{PACKAGE}.data"), load)()
    train, test = splits.values() if isinstance(splits, dict) else splits
    space = workspace(network, train=train, test=test, task=run.space.dataset.task)
    assert network.training
    assert [layer.name for layer in space.layers] == [layer.name for layer in run.space.layers]
    data = space.dataset
    assert Judge.of(data).evaluate(space.model, data.test, "cpu").value == run.measured().value
    *_, done = prune(run.plan, space, torch.device("cpu"))
    assert isinstance(done, Finished)
    assert done.tuned is not None
    assert done.tuned.value == pytest.approx(run.measured("weights.safetensors").value)
    points = list(scan_plan(run.plan, space, [0.5, 0.9], device=torch.device("cpu")))
    rows = csv.DictReader((run.folder / "curves.csv").read_text().splitlines())
    losses = [(row["parameter"], float(row["loss"])) for row in rows]
    assert [(p.parameter, pytest.approx(p.loss, rel=1e-4)) for p in points] == losses
