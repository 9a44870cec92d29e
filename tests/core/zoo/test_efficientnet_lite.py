"""EfficientNet-Lite0 with a weights file of random numbers, named as in the package."""

import importlib
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from pruning_core.model.inventory import inventory
from pruning_core.types import DataMissing, PruningError
from pruning_core.zoo import efficientnet_lite, load_model
from pruning_core.zoo.efficientnet_lite import FILE, PACKAGE, EfficientNetLite0, own_name
from pruning_core.zoo.pretrained import preparation


def their_names(own: list[str]) -> dict[str, str]:
    """Name in the package's weights file -> our own."""
    parts = {"expand": ("_expand_conv", "_bn0"), "depthwise": ("_depthwise_conv", "_bn1")}
    parts |= {"project": ("_project_conv", "_bn2")}
    ends = {"stem.conv": "_conv_stem", "stem.norm": "_bn0", "head.conv": "_conv_head"}
    ends |= {"head.norm": "_bn1", "classifier": "_fc"}
    names = {}
    for name in own:
        module, _, last = name.rpartition(".")
        if found := re.fullmatch(r"(blocks\.\d+)\.(\w+)\.(conv|norm)", module):
            block, part, kind = found.groups()
            names[f"_{block}.{parts[part][kind == 'norm']}.{last}"] = name
        else:
            names[f"{ends[module]}.{last}"] = name
    return names


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with the weights file, which Python can import from; gives the file."""
    path = tmp_path / PACKAGE / FILE
    path.parent.mkdir(parents=True)
    (tmp_path / PACKAGE / "__init__.py").write_text("raise ValueError('it is not imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    return path


def random_weights() -> dict[str, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return EfficientNetLite0().state_dict()


def test_the_weights_of_the_package_are_loaded_under_our_names(package: Path) -> None:
    weights = random_weights()
    names = their_names(list(weights))
    assert {name: own_name(name) for name in names} == names
    torch.save({name: weights[own] for name, own in names.items()}, package)
    model = load_model("efficientnet_lite0", "imagefolder")
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert not model.training
    assert sum(parameter.numel() for parameter in model.parameters()) == 4_652_008
    layers = inventory(model, (3, 224, 224))
    assert sum(layer.kind != "linear" for layer in layers) == 49
    assert sum(layer.macs for layer in layers) == pytest.approx(384e6, rel=0.01)


def test_the_transform_is_that_of_the_training() -> None:
    prepared = preparation("efficientnet_lite0")
    x = prepared.transform(Image.new("RGB", (300, 400), (255, 127, 0)))
    assert x.shape == prepared.shape == (3, 224, 224)
    torch.testing.assert_close(x[:, 0, 0], torch.tensor([1.0, 0.0, -127 / 128]))


@pytest.mark.parametrize(("kernel", "wanted"), [(3, (0, 1)), (5, (1, 2))])
def test_a_stride_of_two_pads_one_more_at_the_end(kernel: int, wanted: tuple[int, int]) -> None:
    block = efficientnet_lite.ConvNorm(1, 1, kernel, 2)
    assert isinstance(block.pad, nn.ZeroPad2d)
    assert block.pad.padding == (*wanted, *wanted)
    assert block(torch.zeros(1, 1, 8, 8)).shape == (1, 1, 4, 4)


def test_a_missing_extra_and_a_damaged_file_are_one_sentence(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataMissing, match=r"pruning-explorer\[efficientnet\]"):
        load_model("efficientnet_lite0", "imagefolder")
    for content in (b"", b"no weights"):
        package.write_bytes(content)
        with pytest.raises(PruningError, match="damaged or of another model"):
            load_model("efficientnet_lite0", "imagefolder")
    torch.save({"_fc.weight": torch.zeros(1)}, package)
    with pytest.raises(PruningError, match="damaged or of another model"):
        load_model("efficientnet_lite0", "imagefolder")
