"""Recipes, training by them, and new initial weights."""

from pathlib import Path

import pytest
import torch

from pruning_core.training.config import TrainConfig
from pruning_core.types import Dataset, PruningError, Step, Tuned
from pruning_core.zoo import (
    ARCHITECTURES,
    RECIPES,
    card,
    datasets_for,
    load_data,
    load_model,
    recipe,
    reinitialise,
    train,
)
from tests.core.events import last_of
from tests.core.toy import same_state, state


def test_recipes_are_of_known_networks() -> None:
    assert {arch for arch, _ in RECIPES} == set(ARCHITECTURES)


def test_pairs_without_a_recipe_use_that_of_another_pair() -> None:
    assert recipe("vit", "mnist") == RECIPES["vit", "fashion_mnist"]
    assert recipe("lenet5", "cifar10") == RECIPES["resnet20", "fashion_mnist"]


def test_training_writes_a_checkpoint_that_loads(own_checkpoints: Path, digits: Dataset) -> None:
    config = TrainConfig(epochs=1, lr=0.05, batch_size=64)
    events = list(train("lenet5", "digits", config, device="cpu"))
    assert isinstance(events[0], Step)
    assert isinstance(events[-1], Tuned)
    assert datasets_for("lenet5") == ("digits",)
    loaded = load_model("lenet5", "digits").state_dict()
    trained = events[-1].model.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in trained.items())
    assert card("lenet5", "digits").recipe == config
    again = last_of(
        Tuned, train("lenet5", "digits", config, out=own_checkpoints / "again", device="cpu")
    )
    assert (own_checkpoints / "again" / "lenet5-digits.safetensors").read_bytes() == (
        own_checkpoints / "lenet5-digits.safetensors"
    ).read_bytes()
    assert again.best_epoch == 1


def test_training_refuses_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(PruningError, match="architecture 'lenet'"):
        next(train("lenet", "digits"))
    with pytest.raises(PruningError, match="data set 'digit'"):
        next(train("lenet5", "digit"))
    with pytest.raises(PruningError, match="at least one epoch"):
        next(train("lenet5", "digits", TrainConfig(epochs=0)))
    (tmp_path / "file").write_text("")
    with pytest.raises(PruningError, match="cannot be made: File exists"):
        list(train("lenet_300_100", "digits", TrainConfig(epochs=1), out=tmp_path / "file"))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_network_of_the_zoo_is_initialised_as_the_zoo_builds_it(name: str) -> None:
    data = load_data("digits")
    model = ARCHITECTURES[name].build((1, 8, 8), 10)
    before = state(model)
    rng_state = torch.get_rng_state()
    initialised = reinitialise(model, name, data, 5)
    assert torch.equal(torch.get_rng_state(), rng_state)
    assert same_state(model, before)
    with torch.random.fork_rng([]):
        torch.manual_seed(5)
        assert same_state(initialised, state(ARCHITECTURES[name].build((1, 8, 8), 10)))
