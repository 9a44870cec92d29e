"""Shipped checkpoints are as good as their cards say; damaged, foreign and unknown ones are
refused.
"""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pruning_core.evaluation.accuracy import evaluate
from pruning_core.training.config import TrainConfig
from pruning_core.types import Dataset, PruningError, Step, Tuned
from pruning_core.zoo import (
    ARCHITECTURES,
    RECIPES,
    available,
    card,
    count_macs,
    datasets_for,
    load_data,
    load_model,
    recipe,
    train,
)
from pruning_core.zoo import checkpoints as module
from pruning_core.zoo.checkpoints import SHIPPED, Card

FASHION = [arch for arch, dataset in RECIPES if dataset == "fashion_mnist"]
CONVOLUTIONAL = {"lenet5", "vgg", "resnet20", "mobilenet"}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own folder, and nothing shipped."""
    monkeypatch.setenv("PRUNING_EXPLORER_DATA", str(tmp_path))
    monkeypatch.setattr(module, "SHIPPED", tmp_path / "nothing")
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


@pytest.fixture
def copied(own: Path) -> Path:
    for suffix in (".safetensors", ".json"):
        shutil.copy(SHIPPED / f"lenet5-digits{suffix}", own)
    return own / "lenet5-digits.safetensors"


def as_its_card_says(arch: str, data: Dataset) -> float:
    known = card(arch, data.name)
    model = load_model(arch, data.name, data=data)
    found = evaluate(model, data.test, device="cpu")
    # Kernels differ between machines: an image on the edge may fall to the other side.
    assert found.top1 == pytest.approx(known.test_top1, abs=1.5 / found.n)
    assert found.n == known.test_images
    assert known.test_interval[0] < known.test_top1 < known.test_interval[1]
    assert known.parameters == sum(p.numel() for p in model.parameters())
    assert known.macs == count_macs(model, data.shape)
    assert known.classes == data.classes
    return known.test_top1


def test_what_is_shipped() -> None:
    shipped = {path.stem for path in SHIPPED.glob("*.safetensors")}
    assert (
        shipped
        == {path.stem for path in SHIPPED.glob("*.json")}
        == {f"{arch}-{dataset}" for arch, dataset in RECIPES}
    )
    assert {arch for arch, dataset in RECIPES if dataset == "digits"} == set(ARCHITECTURES)
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= 12 * 2**20
    assert set(RECIPES) <= set(available())
    assert "digits" in datasets_for("vit")


@pytest.mark.parametrize("pair", RECIPES, ids="-".join)
def test_cards_hold_the_recipe_that_trains_them_again(pair: tuple[str, str]) -> None:
    found = card(*pair)
    assert found.recipe == RECIPES[pair]
    assert (found.architecture, found.dataset) == pair
    assert Card.from_json(found.to_json()) == found


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_shipped_digits_networks_are_as_their_cards_say(arch: str, digits: Dataset) -> None:
    assert as_its_card_says(arch, digits) >= (0.97 if arch in CONVOLUTIONAL else 0.95)


@pytest.mark.parametrize("arch", FASHION)
def test_shipped_fashion_networks_are_as_their_cards_say(arch: str, fashion_root: Path) -> None:
    data = load_data("fashion_mnist", root=fashion_root, download=False)
    assert as_its_card_says(arch, data) >= (0.88 if arch == "vit" else 0.925)


def test_every_load_is_a_fresh_model_and_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    first = load_model("lenet5", "digits")
    second = load_model("lenet5", "digits")
    assert torch.equal(before, torch.get_rng_state())
    with torch.no_grad():
        first[0].weight.zero_()
    assert second[0].weight.any()
    assert not second.training


def test_one_epoch_of_training_writes_a_checkpoint_that_loads(own: Path, digits: Dataset) -> None:
    config = TrainConfig(epochs=1, lr=0.05, batch_size=64)
    events = list(train("lenet5", "digits", config, device="cpu"))
    assert isinstance(events[0], Step)
    assert isinstance(events[-1], Tuned)
    assert datasets_for("lenet5") == ("digits",)
    loaded = load_model("lenet5", "digits").state_dict()
    trained = events[-1].model.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in trained.items())
    assert card("lenet5", "digits").recipe == config
    again = list(train("lenet5", "digits", config, out=own / "again", device="cpu"))[-1]
    assert (own / "again" / "lenet5-digits.safetensors").read_bytes() == (
        own / "lenet5-digits.safetensors"
    ).read_bytes()
    assert again.best_epoch == 1


def test_training_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(PruningError, match="architecture 'lenet'"):
        next(train("lenet", "digits"))
    with pytest.raises(PruningError, match="data set 'digit'"):
        next(train("lenet5", "digit"))
    with pytest.raises(PruningError, match="at least one epoch"):
        next(train("lenet5", "digits", TrainConfig(epochs=0)))
    (tmp_path / "file").write_text("")
    with pytest.raises(PruningError, match="cannot be written"):
        list(train("lenet_300_100", "digits", TrainConfig(epochs=1), out=tmp_path / "file"))


def test_recipes_of_other_pairs_fall_back() -> None:
    assert recipe("vit", "mnist") == RECIPES["vit", "fashion_mnist"]
    assert recipe("lenet5", "cifar10") == RECIPES["resnet20", "fashion_mnist"]


def test_unknown_names_are_told() -> None:
    with pytest.raises(PruningError, match="did you mean 'resnet20'"):
        load_model("resnet21", "digits")
    with pytest.raises(
        PruningError, match="python -m pruning_core train resnet20 --dataset cifar10"
    ):
        load_model("resnet20", "cifar10")


def test_data_that_does_not_fit_is_told(digits: Dataset) -> None:
    with pytest.raises(PruningError, match="trained on 10 classes"):
        load_model("lenet5", "digits", data=replace(digits, shape=(1, 28, 28)))


def test_as_many_classes_of_other_names_are_told(digits: Dataset) -> None:
    """A folder of own images with as many classes is other data; so are the same names in another
    order.
    """
    assert load_model("lenet5", "digits", data=digits) is not None
    for classes in (("zero", *digits.classes[1:]), ("1", "0", *digits.classes[2:])):
        with pytest.raises(
            PruningError, match=f"its output for '0' would stand for '{classes[0]}' in this data"
        ):
            load_model("lenet5", "digits", data=replace(digits, classes=classes))


def test_another_file_than_the_card_describes_is_refused(copied: Path) -> None:
    copied.write_bytes(copied.read_bytes()[:-1] + b"!")
    with pytest.raises(PruningError, match="SHA-256"):
        load_model("lenet5", "digits")


def rewrite(path: Path, content: bytes) -> None:
    """A checkpoint whose card agrees with it."""
    path.write_bytes(content)
    text = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(
        json.dumps({**text, "sha256": module.hashlib.sha256(content).hexdigest()})
    )


def test_foreign_damaged_and_not_finite_weights_are_refused(copied: Path) -> None:
    weights = load_file(copied)
    weights["conv1.weight"][0, 0, 0, 0] = math.nan
    save_file(weights, copied)
    rewrite(copied, copied.read_bytes())
    with pytest.raises(PruningError, match=r"not finite in 'conv1\.weight'"):
        load_model("lenet5", "digits")
    save_file({"conv1.weight": torch.zeros(3)}, copied)
    rewrite(copied, copied.read_bytes())
    with pytest.raises(PruningError, match="does not hold the weights"):
        load_model("lenet5", "digits")
    rewrite(copied, b"no safetensors")
    with pytest.raises(PruningError, match="does not hold the weights"):
        load_model("lenet5", "digits")
    copied.with_suffix(".json").write_text("{}")
    with pytest.raises(PruningError, match="card is damaged"):
        load_model("lenet5", "digits")
