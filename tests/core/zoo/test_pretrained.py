"""Pretrained classifiers of torchvision: names, classes, and weights files of random numbers."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.models import get_model

from pruning_core.evaluation.accuracy import evaluate
from pruning_core.types import DataMissing, PruningError
from pruning_core.zoo import PRETRAINED, datasets_for, load_data, load_model
from pruning_core.zoo.pretrained import IMAGENETTE, imagenet_outputs, preparation, weights_file
from tests.core.toy import answers


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for torch.hub. No server can be reached."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("torch.hub._hub_dir", None)
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    return tmp_path


@pytest.fixture
def resnet18(hub: Path) -> dict[str, Tensor]:
    """Random weights in the file where torch.hub has the trained ones."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        weights = get_model("resnet18", weights=None).state_dict()
    path = weights_file("resnet18")
    path.parent.mkdir(parents=True)
    torch.save(weights, path)
    return weights


@pytest.fixture
def imagenette_root(tmp_path: Path) -> Path:
    for part, n in (("train", 3), ("val", 1)):
        for number, wnid in enumerate(IMAGENETTE):
            folder = tmp_path / "imagenette2-160" / part / wnid
            folder.mkdir(parents=True)
            for i in range(n):
                Image.new("RGB", (50, 40), (20 * number, 100, 50 * i)).save(folder / f"{i}.JPEG")
    return tmp_path


TORCHVISION = [name for name in PRETRAINED if name != "efficientnet_lite0"]


@pytest.mark.parametrize("name", TORCHVISION)
def test_every_name_has_weights_and_a_transform_in_torchvision(name: str) -> None:
    assert PRETRAINED[name].weights.url.startswith("https")
    prepared = preparation(name)
    x = prepared.transform(Image.new("RGB", (300, 400), (124, 116, 104)))
    assert x.shape == prepared.shape
    assert x.abs().max() < 0.05  # the mean colour of ImageNet
    assert imagenet_outputs(("tench", "574"), name) == (0, 574)
    assert weights_file(name).stem.startswith(name.split("_")[0])


def test_the_ids_of_imagenette_are_its_ten_categories() -> None:
    names = (
        "tench",
        "English springer",
        "cassette player",
        "chain saw",
        "church",
        "French horn",
        "garbage truck",
        "gas pump",
        "golf ball",
        "parachute",
    )
    assert imagenet_outputs(tuple(IMAGENETTE), "resnet18") == tuple(IMAGENETTE.values())
    assert imagenet_outputs(
        tuple(n.lower().replace(" ", "_") for n in names if n != "chain saw"), "resnet18"
    ) == tuple(number for number in IMAGENETTE.values() if number != 491)


def test_folders_that_are_not_imagenet_classes_are_refused() -> None:
    with pytest.raises(PruningError, match="'my cat' is none of them"):
        imagenet_outputs(("tench", "my cat"), "resnet18")
    with pytest.raises(PruningError, match="same ImageNet class"):
        imagenet_outputs(("tench", "0"), "resnet18")


@pytest.mark.parametrize("name", ["resnet18", "vit_b_16"])
def test_the_error_for_missing_weights_names_file_and_folder(hub: Path, name: str) -> None:
    with pytest.raises(DataMissing) as caught:
        load_model(name, "imagenette")
    message = str(caught.value)
    assert weights_file(name).name in message
    assert str(hub / "torch" / "hub" / "checkpoints") in message
    assert "no route to host" in message


def test_weights_are_loaded_and_evaluated_on_the_ten_classes(
    resnet18: dict[str, Tensor], imagenette_root: Path
) -> None:
    data = load_data("imagenette", model="resnet18", root=imagenette_root, download=False)
    assert data.shape == (3, 224, 224)
    assert data.outputs == tuple(IMAGENETTE.values())
    assert data.classes[0] == "tench"
    assert (len(data.train), len(data.val), len(data.test)) == (27, 3, 10)
    model = load_model("resnet18", "imagenette", data=data)
    assert all(torch.equal(value, resnet18[name]) for name, value in model.state_dict().items())
    assert not model.training
    few = data.test.subset(range(3))
    measured = evaluate(model, few, outputs=data.outputs, device="cpu")
    with torch.no_grad():
        logits = model(next(few.batches(3))[0])[:, list(data.outputs)]
    assert torch.equal(answers(measured).predictions, logits.argmax(1))
    assert answers(measured).confusion.shape == (10, 10)


def test_damaged_and_not_finite_weights_are_refused(resnet18: dict[str, Tensor]) -> None:
    weights = {**resnet18, "fc.weight": torch.full_like(resnet18["fc.weight"], torch.nan)}
    torch.save(weights, weights_file("resnet18"))
    with pytest.raises(PruningError, match=r"not finite in 'fc\.weight'"):
        load_model("resnet18", "imagenette")
    weights_file("resnet18").write_bytes(b"no weights")
    with pytest.raises(PruningError, match="damaged"):
        load_model("resnet18", "imagenette")


def test_pretrained_models_are_for_imagenet_data() -> None:
    assert datasets_for("resnet50") == ("imagenette", "imagefolder")
    with pytest.raises(PruningError, match="imagenette or imagefolder, not 'digits'"):
        load_model("resnet18", "digits")


def test_folders_may_have_names_of_imagenet_categories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNING_EXPLORER_IMAGES", str(tmp_path))
    for name in ("golf_ball", "tench"):
        (tmp_path / name).mkdir()
        for i in range(5):
            Image.new("RGB", (30, 30)).save(tmp_path / name / f"{i}.png")
    assert load_data("imagefolder", model="mobilenet_v2").outputs == (574, 0)
