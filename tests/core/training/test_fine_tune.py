"""Accuracy counts, masked training, and batch-norm recalibration."""

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pruning_core.evaluation.intervals import wilson
from pruning_core.model.inventory import inventory
from pruning_core.training.fine_tune import (
    TrainConfig,
    evaluate,
    fine_tune,
    learning_rate,
    recalibrate_bn,
    summarise,
)
from pruning_core.types import Dataset, Epoch, Layer, PruningError, Step, Tuned
from pruning_core.zoo.models import ARCHITECTURES
from pruning_core.zoo.splits import TensorSplit

SHAPE = (1, 8, 8)


def built(name: str = "lenet_300_100", seed: int = 0) -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return ARCHITECTURES[name].build(SHAPE, 10).eval()


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def half_masks(layers: tuple[Layer, ...]) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    return {layer.name: torch.rand(layer.shape, generator=rng) < 0.5 for layer in layers}


@pytest.fixture(scope="session")
def small(digits: Dataset) -> Dataset:
    return replace(digits, train=digits.train.subset(range(256)), val=digits.val.subset(range(100)))


def test_summary_counts_by_hand() -> None:
    logits = torch.tensor([[3.0, 1, 0], [0, 2, 1], [0, 1, 2], [5, 0, 0]])
    found = summarise(logits, torch.tensor([0, 1, 1, 1]))
    assert found.top1 == 0.5
    assert found.top5 is None
    assert found.n == 4
    assert found.interval == wilson(2, 4)
    assert found.per_class == (1.0, pytest.approx(1 / 3), None)
    assert found.confusion.tolist() == [[1, 0, 0], [1, 1, 1], [0, 0, 0]]
    assert found.predictions.tolist() == [0, 1, 2, 0]
    by_hand = [
        math.log(sum(math.exp(v) for v in row)) - row[label]
        for row, label in zip(logits.tolist(), (0, 1, 1, 1), strict=True)
    ]
    assert found.loss == pytest.approx(sum(by_hand) / 4)


def test_top5_is_counted_where_there_are_more_than_five_classes() -> None:
    logits = torch.arange(6.0).repeat(2, 1)
    assert summarise(logits, torch.tensor([0, 1])).top5 == 0.5


def test_evaluate_agrees_with_a_plain_loop(digits: Dataset) -> None:
    model = built("resnet20")
    found = evaluate(model, digits.val, device="cpu", batch_size=100)
    x, y = next(digits.val.batches(1000))
    with torch.no_grad():
        predicted = model(x).argmax(1)
    assert torch.equal(found.predictions, predicted)
    assert found.top1 == (predicted == y).sum().item() / len(y)
    assert found.n == len(digits.val)


def test_evaluate_leaves_the_model_as_it_was(digits: Dataset) -> None:
    model = built("resnet20").train()
    model[0][1].eval()
    before = state(model)
    flags = [module.training for module in model.modules()]
    assert (
        evaluate(model, digits.val, device="cpu").top1
        == evaluate(built("resnet20"), digits.val, device="cpu").top1
    )
    assert same(before, state(model))
    assert flags == [module.training for module in model.modules()]


def test_outputs_choose_the_logits(digits: Dataset) -> None:
    class Wide(nn.Module):
        """Ten classes at the odd places of twenty logits; the even ones always win."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = built()

        def forward(self, x: Tensor) -> Tensor:
            found = self.inner(x)
            return torch.stack([torch.full_like(found, 1e6), found], 2).flatten(1)

    found = evaluate(Wide().eval(), digits.val, outputs=tuple(range(1, 20, 2)), device="cpu")
    assert torch.equal(found.predictions, evaluate(built(), digits.val, device="cpu").predictions)


def test_bad_input_is_told(digits: Dataset) -> None:
    model = built()
    with pytest.raises(PruningError, match="no images"):
        evaluate(model, digits.val.subset([]))
    with pytest.raises(PruningError, match="answers 3 classes"):
        evaluate(ARCHITECTURES["lenet5"].build(SHAPE, 3), digits.val)
    with torch.no_grad():
        model[1].weight[0, 0] = math.nan
    with pytest.raises(PruningError, match="NaN"):
        evaluate(model, digits.val)


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
    tuned = list(fine_tune(model, masks, layers, small, config, device="cpu"))[-1]
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


def test_weights_are_held_at_each_step_and_not_only_at_the_end(
    small: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Momentum gathered before the masks must not leak in: the working copy itself is watched."""
    model = built()
    layers = inventory(model, SHAPE)
    masks = half_masks(layers)
    watched: list[nn.Module] = []
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


def test_same_seed_same_weights_other_seed_others(small: Dataset) -> None:
    def last(seed: int) -> dict[str, Tensor]:
        config = TrainConfig(epochs=1, batch_size=64, seed=seed, augment=True)
        return state(
            list(fine_tune(built("resnet20"), {}, (), small, config, device="cpu"))[-1].model
        )

    first = last(3)
    torch.rand(5)  # what else draws random numbers does not matter
    assert same(first, last(3))
    assert not same(first, last(4))


def test_training_leaves_the_random_state_alone(small: Dataset) -> None:
    before = torch.get_rng_state()
    list(fine_tune(built(), {}, (), small, TrainConfig(epochs=1, batch_size=64), device="cpu"))
    assert torch.equal(before, torch.get_rng_state())


def test_the_best_epoch_is_kept(small: Dataset) -> None:
    config = TrainConfig(epochs=4, lr=0.3, batch_size=64, cosine=False)
    events = list(fine_tune(built("lenet5"), {}, (), small, config, device="cpu"))
    epochs = [e for e in events if isinstance(e, Epoch)]
    tuned = events[-1]
    scores = [e.evaluation.top1 for e in epochs]
    assert tuned.best_epoch == scores.index(max(scores)) + 1
    assert (
        evaluate(tuned.model, small.val, device="cpu").top1 == max(scores) == tuned.evaluation.top1
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
    events.close()
    assert Counted.taken == 2


def test_a_diverging_loss_is_told(small: Dataset) -> None:
    with pytest.raises(
        PruningError, match=r"The loss became \w+ at epoch 1, step \d+: lower the learning rate"
    ):
        list(fine_tune(built(), {}, (), small, TrainConfig(lr=1e30, batch_size=32), device="cpu"))


def test_masks_that_do_not_fit_are_told(small: Dataset) -> None:
    model = built()
    layers = inventory(model, SHAPE)
    with pytest.raises(PruningError, match="no prunable layer"):
        next(
            fine_tune(
                model,
                {"nowhere": torch.ones(1, 1, 1, 1, dtype=torch.bool)},
                layers,
                small,
                TrainConfig(),
            )
        )
    with pytest.raises(PruningError, match="has 1 entries"):
        next(
            fine_tune(
                model,
                {layers[0].name: torch.ones(1, 1, 1, 1, dtype=torch.bool)},
                layers,
                small,
                TrainConfig(),
            )
        )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": -1}, "epochs"),
        ({"lr": 0.0}, "learning rate"),
        ({"lr": math.nan}, "learning rate"),
        ({"batch_size": 0}, "batch"),
        ({"optimizer": "sdg"}, "did you mean 'sgd'"),
        ({"momentum": 1.0}, "momentum"),
        ({"weight_decay": -1.0}, "weight decay"),
        ({"warmup": 1.0}, "warm-up"),
        ({"seed": -1}, "seed"),
        ({"label_smoothing": 1.0}, "smoothing"),
        ({"penalty": "group_lasso"}, "group_lasso:filter"),
        ({"penalty": "bn_scale_l1:filter"}, "write bn_scale_l1"),
        ({"penalty": "group_lasso:flter"}, "did you mean 'filter'"),
        ({"penalty": "bn_scale"}, "did you mean 'bn_scale_l1'"),
        ({"penalty_strength": -1.0}, "strength"),
        ({"penalty_strength": math.inf}, "strength"),
    ],
)
def test_a_config_that_cannot_be_meant_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(PruningError, match=words):
        TrainConfig(**change)


def test_learning_rate_rises_then_falls_to_zero() -> None:
    rates = [learning_rate(TrainConfig(lr=1.0, warmup=0.2), step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 21)
    assert max(rates) == rates[20] == 1.0
    assert rates == sorted(rates[:21]) + sorted(rates[21:], reverse=True)
    assert rates[60] == pytest.approx(0.5)
    assert rates[-1] < 1e-3
    assert {learning_rate(TrainConfig(lr=0.3, cosine=False), step, 9) for step in range(9)} == {0.3}


def test_recalibration_makes_the_averages_of_the_batches(digits: Dataset) -> None:
    model = nn.Sequential(
        nn.BatchNorm2d(1), nn.Dropout(0.9), nn.Flatten(), nn.Linear(64, 10)
    ).eval()
    before = state(model)
    found = recalibrate_bn(model, digits.train, images=256, device="cpu", batch_size=64)
    x = torch.cat([x for x, _ in digits.train.subset(range(256)).batches(64)])
    assert found[0].running_mean.item() == pytest.approx(x.mean().item(), abs=1e-5)
    parts = [part.var().item() for part in x.split(64)]
    assert found[0].running_var.item() == pytest.approx(sum(parts) / 4, rel=1e-5)
    assert same(before, state(model))
    assert not any(module.training for module in found.modules())
    assert found[0].momentum == 0.1


def test_recalibration_without_batch_norm_is_a_copy(digits: Dataset) -> None:
    model = built()
    found = recalibrate_bn(model, digits.train, device="cpu")
    assert found is not model
    assert same(state(model), state(found))
