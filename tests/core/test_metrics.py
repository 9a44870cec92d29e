"""Counts of a masked model, checked by hand."""

import pytest
import torch
from torch import nn

from pruning_core.inventory import inventory
from pruning_core.metrics import measure
from pruning_core.types import PruningError


@pytest.fixture
def toy():
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, 3)).eval()
    with torch.no_grad():
        model[0].weight.fill_(1)
        model[3].weight.fill_(1)
        model[3].bias.fill_(1)
    return model, inventory(model, (1, 4, 4))


def test_dense_counts(toy):
    report = measure(*toy, {})
    assert report.parameters == 18 + 4 + 96 + 3
    assert report.nonzeros == 121 - 2  # the batch norm's shifts start at zero
    assert report.macs == report.macs_effective == 18 * 16 + 96
    assert report.dense_bytes == 4 * (121 + 4) + 8  # running mean and variance, and the 64-bit counter
    assert report.sparsity_masked == 0
    assert report.kept == {"0.weight": 1.0, "3.weight": 1.0}


def test_masked_counts(toy):
    model, layers = toy
    mask = torch.ones(2, 1, 3, 3, dtype=torch.bool)
    mask[1] = False
    report = measure(model, layers, {"0.weight": mask})
    assert report.nonzeros == 119 - 9
    assert report.macs == 384
    assert report.macs_effective == 9 * 16 + 96
    assert report.sparsity_masked == 0.5
    assert report.sparsity_model == pytest.approx(11 / 121)
    assert report.kept == {"0.weight": 0.5, "3.weight": 1.0}
    assert model[0].weight.all()


def test_zeros_of_the_weight_itself_count(toy):
    model, layers = toy
    with torch.no_grad():
        model[3].weight[:, 0] = 0
    mask = torch.ones(3, 32, 1, 1, dtype=torch.bool)
    mask[:, :2] = False
    report = measure(model, layers, {"3.weight": mask})
    assert report.nonzeros == 119 - 6
    assert report.sparsity_masked == pytest.approx(6 / 96)


def test_a_tied_weight_counts_once():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    layers = inventory(model, (1, 4, 4))
    assert measure(model, layers, {}).parameters == 16
    assert measure(model, layers, {"0.weight": torch.zeros(4, 4, 1, 1, dtype=torch.bool)}).nonzeros == 0


def test_masks_that_do_not_fit_are_told(toy):
    with pytest.raises(PruningError, match="no layer"):
        measure(*toy, {"9.weight": torch.ones(1, 1, 1, 1, dtype=torch.bool)})
    with pytest.raises(PruningError, match="1 entries"):
        measure(*toy, {"0.weight": torch.ones(1, 1, 1, 1, dtype=torch.bool)})
