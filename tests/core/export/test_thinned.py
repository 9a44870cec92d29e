"""A thinned network is opened again by its own subject file, scanned, and gives its value."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
from torch import nn

from pruning_core import Plan, open_workspace, workspace
from pruning_core.evaluation.accuracy import Judge
from pruning_core.export import thinned as export
from pruning_core.export import value_line
from pruning_core.export.thinned import ThinnedExport, export_thinned
from pruning_core.pipeline import final_test_split
from pruning_core.sensitivity.scan import scan_plan
from pruning_core.subjects import subject_files
from pruning_core.types import PruningError
from pruning_core.zoo.uploads import Statement, images_folder, store_images, store_network
from tests.core.export.scripts import printed_here
from tests.core.zoo.uploads.files import TRANSFORM, flowers, network, pt, zipped
from tests.third_party import write_package


def _unwritten(*_: Any) -> bytes:
    raise PruningError("It is not written.")


NEEDS = (
    "needs torch, safetensors, scikit-learn.",
    "needs torch, safetensors, thinned_package.",
    "needs torch, safetensors, torchvision, numpy, Pillow.",
)
"""Parts of the cards of a network of the zoo, of the user's own and of an upload."""


@pytest.fixture
def package(tmp_path: Path) -> Iterator[None]:
    with subject_files([write_package(tmp_path / "own", "thinned_package")]):
        yield


@pytest.mark.usefixtures("package")
def test_a_thinned_network_is_a_subject_that_is_scanned_as_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "program_file", _unwritten)
    monkeypatch.setattr(export, "onnx_file", _unwritten)
    monkeypatch.setenv("PRUNING_EXPLORER_DATA", str(tmp_path / "data"))
    images = store_images(zipped(flowers()), "flowers.zip", "me").name
    asked = Statement("vgg", images, TRANSFORM)
    uploaded = store_network(pt(network().state_dict()), "x.pt", asked, "me").name
    names = (("lenet5", "digits"), ("pictures", "pictures_data"), (uploaded, images))
    for number, (model, dataset) in enumerate(names):
        plan = Plan(model=model, dataset=dataset, granularity="filter", sparsity=0.4)
        space = open_workspace(model, dataset)
        *_, made = export_thinned(plan, space)
        assert isinstance(made, ThinnedExport)
        assert made.left_out == ("It is not written.",) * 2
        (folder := tmp_path / str(number)).mkdir()
        for name, content in made.files.items():
            (folder / name).write_bytes(content)
        if model == uploaded:
            copytree(images_folder(images)[0], folder / "images")
        assert NEEDS[number] in made.files["MODEL_CARD.md"].decode()
        split = final_test_split(plan, space)
        value = Judge.of(space.dataset).evaluate(made.thinned.module, split, "cpu")
        assert printed_here(folder, "build_thinned.py") == value_line(value)
        (folder / "build_thinned.py").rename(folder / f"built_{number}.py")
        text = (folder / "thinned.toml").read_text().replace("build_thinned", f"built_{number}")
        (folder / "thinned.toml").write_text(text)
        with subject_files([folder / "thinned.toml"]):
            (thinned,) = tomllib.loads(text)
            again = open_workspace(thinned, f"{thinned}_data")
            assert again.dataset.classes == space.dataset.classes
            assert [layer.shape[0] for layer in again.layers] == [
                width.out[1] for width in made.thinned.widths
            ]
            small = Plan(model=thinned, dataset=f"{thinned}_data", probe=20)
            points = list(scan_plan(small, again, (0.5,)))
        assert {point.parameter for point in points} == {layer.name for layer in again.layers}
        again_value = Judge.of(again.dataset).evaluate(again.model, again.dataset.test)
        assert again_value.value == value.value


def test_a_network_given_as_an_object_gets_a_script_that_asks_for_its_lines() -> None:
    x = torch.rand(20, 1, 8, 8)
    y = torch.arange(20) % 2
    parts = (nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 2))
    space = workspace(nn.Sequential(*parts), train=(x, y), test=(x, y), data="flowers")
    plan = Plan(granularity="filter", sparsity=0.5, probe=10)
    *_, made = export_thinned(plan, space)
    assert isinstance(made, ThinnedExport)
    script = made.files["build_thinned.py"].decode()
    compile(script, "build_thinned.py", "exec")
    assert "Write the line that builds your network here" in script
    assert "what you gave as test= to workspace()" in script
    (missing,) = [text for text in made.left_out if "thinned.toml" in text]
    assert "how a program reads flowers is not known" in missing
