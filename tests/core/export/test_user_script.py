"""The script for a network of the user's needs no package of ours and prints the same figure."""

import re
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.utils.prune import l1_unstructured

from pruning_core import Plan, TrainConfig, open_workspace, workspace
from pruning_core.export import (
    masks_by_parameter,
    masks_safetensors,
    script_text,
    weights_safetensors,
)
from pruning_core.pipeline import dependent_masks_of, final_test_split, prune
from pruning_core.subjects import subject_files
from pruning_core.types import Finished
from tests.core.subjects.test_image_folder import write_images
from tests.core.toy import refusal
from tests.third_party import write_package

KINDS = '''
"""The same samples in every form that a test split may have."""

import random
from collections import namedtuple
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from script_package.data import pictures

train, test = pictures()
x, y = test.tensors


class Noisy(Dataset):
    def __len__(self):
        return len(y)

    def __getitem__(self, i):
        noise = torch.rand(1) + random.random() + np.random.rand()
        return x[i] + 0.1 * noise, int(y[i])


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(x, y))


class Shards(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        return x[15 * i : 15 * i + 15], y[15 * i : 15 * i + 15]


def keyed(items):
    x, y = torch.utils.data.default_collate(items)
    return {"x": x, "labels": y}


def reversed_pair(batch):
    return batch[1], batch[0]


NAMES = {names}


def given():
    return {
        "tensors": (x, y),
        "arrays": (x.double().numpy(), y.numpy()),
        "data_set": test,
        "subset": Subset(test, list(range(5, 50))),
        "shuffled": DataLoader(test, 7, shuffle=True),
        "noisy": DataLoader(Noisy(), 7, shuffle=True),
        "stream": Stream(),
        "stream_loader": DataLoader(Stream(), 7),
        "shards": DataLoader(Shards(), batch_size=None, shuffle=True),
        "keyed_loader": DataLoader(Noisy(), 7, collate_fn=keyed),
        "turned": DataLoader(TensorDataset(y, x), 7),
    }


def splits(name):
    if name == "turned":
        both = {"train": TensorDataset(*reversed(train.tensors)), "batch": reversed_pair}
    else:
        both = {"train": train}
    return both | {"test": given()[name]}


def __getattr__(name):
    if name not in NAMES:
        raise AttributeError(name)
    return lambda: splits(name)


def grey(picture):
    pixels = np.array(picture.convert("L").resize((8, 8)), dtype=np.float32)
    return torch.from_numpy(pixels)[None] / 255


def folders():
    root = Path(__file__).parents[1] / "images"
    return {part: str(root / part) for part in ("train", "val", "test")}


def train_only():
    return {"train": DataLoader(TensorDataset(x, y), 7, shuffle=True)}
'''
NAMES = (
    *("tensors", "arrays", "data_set", "subset", "shuffled", "noisy", "stream", "stream_loader"),
    *("shards", "keyed_loader", "turned", "train_only"),
)
ENTRY = """
[{name}]
model = "script_package.nets:Classifier"
weights = "{weights}"
data = "script_package.kinds:{name}"
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("script")
    write_package(folder, "script_package")
    (folder / "script_package" / "kinds.py").write_text(KINDS.replace("{names}", str(NAMES)))
    file = folder / "kinds.toml"
    weights = ["pictures.safetensors"] * len(NAMES)
    weights[:4] = ["nested.pt", "prefixed.ckpt", "arrays.npz", "weights.bin"]
    file.write_text("".join(map(lambda n, w: ENTRY.format(name=n, weights=w), NAMES, weights)))
    state = load_file(folder / "pictures.safetensors")
    first = next(iter(state))
    mask = torch.arange(state[first].numel()).view(state[first].shape) % 9 != 0
    by_torch = {f"{first}_orig": state[first], f"{first}_mask": mask.float()}
    masked = {name: value for name, value in state.items() if name != first} | by_torch
    torch.save({"state_dict": masked, "epoch": 3}, folder / "nested.pt")
    prefixed = {f"module.{name}": value for name, value in state.items()}
    torch.save({"model": prefixed | {"loss": torch.ones(1)}}, folder / "prefixed.ckpt")
    np.savez(folder / "arrays.npz", **{name: value.numpy() for name, value in state.items()})  # type: ignore[arg-type]
    (folder / "weights.bin").write_bytes((folder / "pictures.safetensors").read_bytes())
    return file


def printed(plan: Plan, folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, Finished]:
    """What the script prints in a process that cannot import this package, and the run."""
    space = open_workspace(plan.model, plan.dataset)
    *_, run = prune(plan, space, torch.device("cpu"))
    assert isinstance(run, Finished)
    folder.mkdir()
    dependent = dependent_masks_of(plan, space, run.masks)
    masks = masks_by_parameter(run.masks, space.layers, dependent)
    (folder / "masks.safetensors").write_bytes(masks_safetensors(masks, plan))
    (folder / "weights.safetensors").write_bytes(weights_safetensors(run.model))
    tuned = run.tuned is not None
    script = script_text(plan, space, tuned=tuned)
    assert "import pruning_core" not in script
    assert "from pruning_core" not in script
    (folder / "load_masks.py").write_text(script)
    path = list(sys.path)
    runpy.run_path(str(folder / "load_masks.py"), run_name="__main__")
    sys.path[:] = path
    return capsys.readouterr().out, run


def test_the_script_prints_the_measured_value_for_every_form_of_data(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {}
    plan = Plan(granularity="filter", sparsity=0.5, fine_tune=TrainConfig(epochs=0))
    with subject_files([file]):
        by_torch = open_workspace(NAMES[0], f"{NAMES[0]}_data").notes
        assert any("torch's masks of 1 weight" in note for note in by_torch)
        notes = open_workspace(NAMES[1], f"{NAMES[1]}_data").notes
        assert "The prefix 'module.' was removed from the names." in notes
        assert "1 other tensors of the file were left out." in notes
        for number, name in enumerate(NAMES):
            tune = replace(plan.fine_tune, epochs=number % 2)
            named = replace(plan, model=name, dataset=f"{name}_data", fine_tune=tune)
            line, run = printed(named, tmp_path / name, capsys)
            measured = run.tuned or run.pruned
            right = round(measured.value * measured.n)
            expected = f"accuracy {measured.value:.6f} ({right} of {measured.n} images)\n"
            if line != expected or run.pruned.value == run.dense.value:
                wrong[name] = (line, expected)
    assert not wrong


FOLDER = """
[folder]
model = "script_package.nets:Classifier"
weights = "pictures.safetensors"
data = "images"
transform = "script_package.kinds:grey"
outputs = [0, 2]
"""


def test_the_script_of_a_folder_of_images_prints_the_measured_value(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """16-bit, float, turned and CMYK images; torchvision's reader would give another value."""
    for part in ("train", "val", "test"):
        write_images(file.parent / "images" / part)
    by_function = FOLDER.replace("[folder]", "[paths]").replace(
        '"images"', '"script_package.kinds:folders"'
    )
    (file.parent / "folder.toml").write_text(FOLDER + by_function)
    plan = Plan(granularity="filter", sparsity=0.3, fine_tune=TrainConfig(epochs=0))
    for name in ("folder", "paths"):
        own = replace(plan, model=name, dataset=f"{name}_data")
        with subject_files([file.parent / "folder.toml"]):
            line, run = printed(own, tmp_path / name, capsys)
        right = round(run.pruned.value * 9)
        assert line == f"accuracy {run.pruned.value:.6f} ({right} of 9 images)\n", name
        assert "torchvision" not in (tmp_path / name / "load_masks.py").read_text()


def test_large_images_are_measured_on_the_same_part(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pruning_core.pipeline.SMALL", 4)
    plan = Plan(model="shuffled", dataset="shuffled_data", probe=20, sparsity=0.7)
    plan = replace(plan, fine_tune=TrainConfig(epochs=0))
    with subject_files([file]):
        line, run = printed(plan, tmp_path / "part", capsys)
        split = final_test_split(plan, open_workspace(plan.model, plan.dataset))
    assert len(split) == 20
    assert f"{run.pruned.value:.6f} " in line
    assert "of 20 images" in line


def test_a_workspace_from_python_leaves_places_for_the_users_own_lines() -> None:
    x = torch.rand(30, 4)
    y = torch.arange(30) % 2
    space = workspace(torch.nn.Linear(4, 2), train=(x, y), test=(x, y))
    script = script_text(Plan(), space, tuned=False)
    assert "given = ...  # what you gave as test= to workspace()" in script
    compile(script, "load_masks.py", "exec")
    other = replace(space, lines=None)
    assert "no script" in refusal(lambda: script_text(Plan(), other, tuned=False))


def test_the_script_of_a_network_that_torch_has_pruned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It opens as it is, the start `zeros` keeps its masks, and the script loads the result."""
    x = torch.rand(40, 6, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0.5).long()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    l1_unstructured(network[0], "weight", 0.5)
    torch.save(network, tmp_path / "network.pt")
    space = workspace(network, train=(x, y), test=(x, y))
    with torch.no_grad():
        assert torch.equal(space.model(x), network.eval()(x))
    assert any("torch.nn.utils.prune has pruned 0.weight" in note for note in space.notes)
    tune = TrainConfig(epochs=1, batch_size=8)
    plan = Plan(space.name, space.dataset.name, sparsity=0.6, start="zeros", fine_tune=tune)
    *_, run = prune(plan, space, torch.device("cpu"))
    assert isinstance(run, Finished)
    assert not run.masks["0.weight"].flatten(1)[~network.get_buffer("0.weight_mask").bool()].any()
    masks = masks_by_parameter(run.masks, space.layers)
    (tmp_path / "masks.safetensors").write_bytes(masks_safetensors(masks, plan))
    (tmp_path / "weights.safetensors").write_bytes(weights_safetensors(run.model))
    script = script_text(plan, space, tuned=True)
    assert "model.load_state_dict(state)  # fine-tuned\n" in script
    repaired = script_text(replace(plan, repair="bn"), space, tuned=False)
    assert repaired == script.replace("# fine-tuned", "# repaired")
    load = "torch.load(here / 'network.pt', weights_only=False)"
    tensors = "(torch.rand(40, 6, generator=torch.Generator().manual_seed(0)),)"
    lines = f"given = {tensors}\ngiven += ((given[0][:, 0] > 0.5).long(),)"
    script = script.replace("model = ...", f"model = {load}").replace("given = ...", lines)
    script = re.sub("raise SystemExit.*", "", script)
    (tmp_path / "load_masks.py").write_text(script)
    runpy.run_path(str(tmp_path / "load_masks.py"), run_name="__main__")
    measured = run.tuned
    assert measured is not None
    assert capsys.readouterr().out.startswith(f"accuracy {measured.value:.6f} ")
