"""Training configurations and learning rates."""

import math
from typing import Any

import pytest

from pruning_core.training.config import TrainConfig, learning_rate
from pruning_core.types import PruningError


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
def test_values_outside_their_range_are_refused(change: dict[str, Any], words: str) -> None:
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
