"""Training of a pruned network: removed weights stay at zero."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pruning_core.evaluation.accuracy import evaluate
from pruning_core.model.inventory import inventory
from pruning_core.training.config import TrainConfig
from pruning_core.training.fine_tune import fine_tune
from pruning_core.types import Dataset, Epoch, Layer, PruningError, Step, Tuned
from pruning_core.zoo.splits import TensorSplit
from tests.core.events import last_of, stop
from tests.core.small_networks import SHAPE, built, same, state


def half_masks(layers: tuple[Layer, ...]) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    return {layer.name: torch.rand(layer.shape, generator=rng) < 0.5 for layer in layers}


@pytest.fixture(scope="session")
def small(digits: Dataset) -> Dataset:
    return replace(digits, train=digits.train.subset(range(256)), val=digits.val.subset(range(100)))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("name", ["resnet20", "vit"])
def test_removed_weights_stay_zero_after_every_step(
    small: Dataset, name: str, optimizer: str
) -> None:
    model = built(name)
    layers = inventory(model, SHAPE)
    masks = half_masks(layers)
    before = state(model)
    config = TrainConfig(
        epochs=2, lr=0.05, batch_size=64, optimizer=optimizer, momentum=0.9, weight_decay=0.1
    )
    few = replace(small, train=small.train.subset(range(128)), val=small.val.subset(range(20)))
    tuned = list(fine_tune(model, masks, layers, few, config, device="cpu"))[-1]
    assert isinstance(tuned, Tuned)
    for layer in layers:
        weight = tuned.model.get_parameter(layer.name).reshape(layer.shape)
        assert not weight[~masks[layer.name]].any()
        assert weight[masks[layer.name]].all()
        assert not torch.equal(
            weight[masks[layer.name]], before[layer.name].reshape(layer.shape)[masks[layer.name]]
        )
    assert same(before, state(model))
    assert not any(module.training for module in tuned.model.modules())


def test_removed_weights_are_zero_at_each_step_and_not_only_at_the_end(
    small: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier momentum must not change removed weights: the trained copy itself is checked."""
    model = built()
    layers = inventory(model, SHAPE)
    masks = half_masks(layers)
    watched: list[list[Tensor]] = []
    original = torch.optim.SGD

    def spy(groups: Any, **kwargs: Any) -> Any:
        watched.extend(group["params"] for group in groups)
        return original(groups, **kwargs)

    monkeypatch.setattr(torch.optim, "SGD", spy)
    removed = {
        tuple(layer.param_shape): ~masks[layer.name].reshape(layer.param_shape) for layer in layers
    }
    steps = 0
    for event in fine_tune(
        model, masks, layers, small, TrainConfig(epochs=2, lr=0.1, batch_size=64), device="cpu"
    ):
        if isinstance(event, Step):
            steps += 1
            assert all(
                not p[removed[tuple(p.shape)]].any()
                for group in watched
                for p in group
                if tuple(p.shape) in removed
            )
    assert steps == 8


def test_events_come_in_order(small: Dataset) -> None:
    events = list(
        fine_tune(built(), {}, (), small, TrainConfig(epochs=2, batch_size=100), device="cpu")
    )
    assert [type(event) for event in events] == [Step, Step, Epoch] * 2 + [Tuned]
    assert [(e.epoch, e.step, e.steps) for e in events if isinstance(e, Step)] == [
        (1, 1, 2),
        (1, 2, 2),
        (2, 1, 2),
        (2, 2, 2),
    ]


def test_the_seed_fixes_the_weights(small: Dataset) -> None:
    def last(seed: int) -> dict[str, Tensor]:
        config = TrainConfig(epochs=1, batch_size=64, seed=seed, augment=True)
        events = fine_tune(built("resnet20"), {}, (), small, config, device="cpu")
        return state(last_of(Tuned, events).model)

    first = last(3)
    torch.rand(5)  # other random numbers have no effect
    assert same(first, last(3))
    assert not same(first, last(4))


def test_training_does_not_change_the_random_state(small: Dataset) -> None:
    before = torch.get_rng_state()
    list(fine_tune(built(), {}, (), small, TrainConfig(epochs=1, batch_size=64), device="cpu"))
    assert torch.equal(before, torch.get_rng_state())


def test_the_best_epoch_is_kept(small: Dataset) -> None:
    config = TrainConfig(epochs=4, lr=0.3, batch_size=64, cosine=False)
    events = list(fine_tune(built("lenet5"), {}, (), small, config, device="cpu"))
    epochs = [e for e in events if isinstance(e, Epoch)]
    tuned = last_of(Tuned, events)
    scores = [e.evaluation.value for e in epochs]
    assert tuned.best_epoch == scores.index(max(scores)) + 1
    assert (
        evaluate(tuned.model, small.val, device="cpu").value
        == max(scores)
        == tuned.evaluation.value
    )
    assert [e.best for e in epochs] == [
        all(s > other for other in scores[:i]) for i, s in enumerate(scores)
    ]


def test_zero_epochs_only_apply_the_masks(small: Dataset) -> None:
    model = built()
    layers = inventory(model, SHAPE)
    (tuned,) = fine_tune(
        model, half_masks(layers), layers, small, TrainConfig(epochs=0), device="cpu"
    )
    assert isinstance(tuned, Tuned)
    assert tuned.best_epoch == 0
    assert (tuned.model.get_parameter(layers[0].name) == 0).double().mean() == pytest.approx(
        0.5, abs=0.02
    )


def test_closing_stops_at_once(small: Dataset) -> None:
    class Counted(TensorSplit):
        taken = 0

        def shuffled(self, size: int, seed: int, augment: bool = False) -> Any:
            for batch in super().shuffled(size, seed, augment):
                Counted.taken += 1
                yield batch

    split = Counted(**vars(small.train))
    events = fine_tune(
        built(), {}, (), replace(small, train=split), TrainConfig(batch_size=32), device="cpu"
    )
    list(itertools.islice(events, 2))
    stop(events)
    assert Counted.taken == 2


def test_a_diverging_loss_is_refused_in_a_sentence(small: Dataset) -> None:
    with pytest.raises(
        PruningError, match=r"The loss became \w+ at epoch 1, step \d+: lower the learning rate"
    ):
        list(fine_tune(built(), {}, (), small, TrainConfig(lr=1e30, batch_size=32), device="cpu"))


def test_code_that_needs_the_usual_memory_layout_is_trained(small: Dataset) -> None:
    class Viewed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(SHAPE[0], 4, 3)
            self.fc = nn.Linear(4 * (SHAPE[1] - 2) * (SHAPE[2] - 2), len(small.classes))

        def forward(self, x: Tensor) -> Tensor:
            made: Tensor = self.fc(self.conv(x).view(len(x), -1))
            return made

    events = fine_tune(Viewed(), {}, (), small, TrainConfig(epochs=1), device="cpu")
    assert last_of(Tuned, list(events)).evaluation.n == len(small.val)


def test_broken_training_inputs_are_named(small: Dataset) -> None:
    class Broken(TensorSplit):
        def shuffled(self, size: int, seed: int, augment: bool = False) -> Any:
            for x, y in super().shuffled(size, seed, augment):
                x = x.clone()
                x[2, 0, 0, 0] = torch.nan
                yield x, y

    data = replace(small, train=Broken(**vars(small.train)))
    with pytest.raises(PruningError, match=r"step 1: 1 of the 32 training inputs .* \(number 2 in"):
        list(fine_tune(built(), {}, (), data, TrainConfig(batch_size=32), device="cpu"))


def test_masks_that_do_not_fit_are_refused_in_a_sentence(small: Dataset) -> None:
    model = built()
    layers = inventory(model, SHAPE)
    with pytest.raises(PruningError, match="belongs to no layer"):
        next(
            fine_tune(
                model,
                {"nowhere": torch.ones(1, 1, 1, 1, dtype=torch.bool)},
                layers,
                small,
                TrainConfig(),
            )
        )
    with pytest.raises(PruningError, match=r"\(1, 1, 1, 1\); its layer needs"):
        next(
            fine_tune(
                model,
                {layers[0].name: torch.ones(1, 1, 1, 1, dtype=torch.bool)},
                layers,
                small,
                TrainConfig(),
            )
        )


class Noted(nn.Module):
    """Keeps text in its state; fails in training if it is told to."""

    def __init__(self, fails: bool) -> None:
        super().__init__()
        self.f = nn.Linear(64, 10)
        self.fails = fails

    def get_extra_state(self) -> dict[str, str]:
        return {"text": "kept"}

    def set_extra_state(self, state: dict[str, str]) -> None:
        assert state == {"text": "kept"}

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.f(x.flatten(1))
        if self.training and self.fails:
            raise RuntimeError("no training here")
        return out


def test_state_that_is_no_tensor_is_kept_and_errors_of_a_step_are_a_sentence(
    small: Dataset,
) -> None:
    config = TrainConfig(epochs=1, batch_size=128)
    *_, done = fine_tune(Noted(False), {}, (), small, config, device="cpu")
    assert isinstance(done, Tuned)
    assert done.best_epoch == 1
    with pytest.raises(PruningError, match=r"training step .* failed: RuntimeError: no training"):
        list(fine_tune(Noted(True), {}, (), small, config, device="cpu"))
