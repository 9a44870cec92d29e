"""Batch-norm statistics are measured again on the training images."""

import pytest
import torch
from torch import nn

from pruning_core.training.batch_norm import recalibrate_bn
from pruning_core.types import Dataset
from tests.core.small_networks import built, same, state
from tests.core.toy import pictures


def test_recalibration_computes_the_averages_of_the_batches(digits: Dataset) -> None:
    model = nn.Sequential(
        nn.BatchNorm2d(1), nn.Dropout(0.9), nn.Flatten(), nn.Linear(64, 10)
    ).eval()
    before = state(model)
    recalibrated = recalibrate_bn(model, digits.train, images=256, device="cpu", batch_size=64)
    x = torch.cat([pictures(batch) for batch in digits.train.subset(range(256)).batches(64)])
    assert recalibrated.get_buffer("0.running_mean").item() == pytest.approx(
        x.mean().item(), abs=1e-5
    )
    parts = [part.var().item() for part in x.split(64)]
    assert recalibrated.get_buffer("0.running_var").item() == pytest.approx(
        sum(parts) / 4, rel=1e-5
    )
    assert same(before, state(model))
    assert not any(module.training for module in recalibrated.modules())
    assert recalibrated.get_submodule("0").momentum == 0.1


def test_recalibration_without_batch_norm_is_a_copy(digits: Dataset) -> None:
    model = built()
    recalibrated = recalibrate_bn(model, digits.train, device="cpu")
    assert recalibrated is not model
    assert same(state(model), state(recalibrated))
