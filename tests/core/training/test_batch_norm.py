"""Batch-norm statistics are measured again on the training images."""

import pytest
import torch
from torch import nn

from pruning_core.model.model_io import copy_model
from pruning_core.training.batch_norm import BatchNorms, measure_again
from pruning_core.types import Dataset
from tests.core.small_networks import built, same, state
from tests.core.toy import pictures


def test_recalibration_computes_the_averages_of_the_batches(digits: Dataset) -> None:
    model = nn.Sequential(
        nn.BatchNorm2d(1), nn.Dropout(0.9), nn.Flatten(), nn.Linear(64, 10)
    ).eval()
    before = state(model)
    recalibrated = copy_model(model)
    batches = list(digits.train.subset(range(256)).batches(64))
    measure_again(recalibrated, batches)
    x = torch.cat([pictures(batch) for batch in batches])
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


def test_one_copy_serves_one_set_of_weights_after_another(digits: Dataset) -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2)
    ).eval()
    before = state(model)
    batches = list(digits.train.subset(range(96)).batches(48))
    norms = BatchNorms(model, batches)
    for names in (("0.weight",), ("2.weight", "1.weight"), ("0.weight",)):
        halved = {name: model.get_parameter(name).detach() * 0.5 for name in names}
        fresh = copy_model(model)
        for name, tensor in halved.items():
            fresh.get_parameter(name).data.copy_(tensor)
        measure_again(fresh, batches)
        measured = norms.measured(halved)
        assert measured.keys() == dict(fresh.named_buffers()).keys()
        assert all(torch.equal(measured[name], own) for name, own in fresh.named_buffers())
    assert same(before, state(model))


def test_recalibration_without_batch_norm_changes_nothing(digits: Dataset) -> None:
    model = built()
    recalibrated = copy_model(model)
    measure_again(recalibrated, digits.train.batches(128))
    assert same(state(model), state(recalibrated))
