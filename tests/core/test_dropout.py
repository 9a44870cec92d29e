"""Random masks of one pass: how many go, what the mean and the spread over passes are, and that a frozen one is a mask."""

import pytest
import torch
from torch import nn

from pruning_core.dropout import REGULARISERS, dropconnect_mask, dropout_mask, dropped, frozen
from pruning_core.inventory import inventory
from pruning_core.masks import achieved, apply_masks, check_masks
from pruning_core.types import PruningError
from tests.core.toy import LAYERS, is_sentence, layer, refusal

HERE, RATE, PASSES = layer((6, 4, 1, 1)), 0.4, 4000
W = torch.linspace(-1, 2, 24).view(6, 4, 1, 1)
V = torch.tensor([0.5, -1.0, 2.0, 1.0])


def passes(name: str) -> torch.Tensor:
    """W v of every pass: passes x outputs."""
    found = [dropped(W, REGULARISERS[name].mask(HERE, RATE, seed), RATE) for seed in range(PASSES)]
    return torch.stack(found)[:, :, :, 0, 0].double() @ V.double()


@pytest.mark.parametrize("name", REGULARISERS)
def test_the_mean_over_passes_is_the_pass_without_dropping(name: str) -> None:
    y, seen = (W[:, :, 0, 0] @ V).double(), passes(name)
    error = seen.std(0) / PASSES**0.5
    assert ((seen.mean(0) - y).abs() < 4 * error + 1e-9).all()


def test_dropouts_variance_is_of_whole_outputs_and_dropconnects_of_single_products() -> None:
    w, spread = W[:, :, 0, 0].double(), RATE / (1 - RATE)
    whole, single = (w @ V.double()).square(), (w * V.double()).square().sum(1)
    torch.testing.assert_close(passes("dropout").var(0), spread * whole, rtol=0.08, atol=1e-9)
    torch.testing.assert_close(passes("dropconnect").var(0), spread * single, rtol=0.08, atol=1e-9)


def test_dropout_takes_rows_and_dropconnect_weights() -> None:
    rows = dropout_mask(layer((400, 5, 3, 3)), 0.25, 0).flatten(1)
    assert torch.equal(rows, rows[:, :1].expand_as(rows))
    assert float(rows[:, 0].double().mean()) == pytest.approx(0.75, abs=4 * (0.25 * 0.75 / 400) ** 0.5)
    weights = dropconnect_mask(layer((400, 5, 3, 3)), 0.25, 0)
    assert float(weights.double().mean()) == pytest.approx(0.75, abs=4 * (0.25 * 0.75 / 18000) ** 0.5)
    assert bool((weights.flatten(1).any(1) & ~weights.flatten(1).all(1)).all())


@pytest.mark.parametrize("name", REGULARISERS)
def test_every_pass_has_a_mask_of_its_own_that_its_seed_gives_again(name: str) -> None:
    how = REGULARISERS[name].mask
    here, before = layer((64, 4, 1, 1)), torch.get_rng_state()
    assert torch.equal(how(here, 0.5, 1), how(here, 0.5, 1))
    assert not torch.equal(how(here, 0.5, 1), how(here, 0.5, 2))
    assert how(here, 0.0, 1).all()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", REGULARISERS)
def test_a_frozen_sample_is_random_pruning(name: str) -> None:
    model = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.Flatten(), nn.Linear(512, 3))
    layers = inventory(model, (1, 8, 8))
    masks = frozen(name, layers[:2], 0.5, 7)
    check_masks(masks, layers)
    assert all(0.2 < share < 0.8 for share in achieved(masks).values())
    work = apply_masks(model, masks, layers)
    assert not work[0].weight[~masks["0.weight"]].any()
    assert torch.equal(work[0].weight[masks["0.weight"]], model[0].weight[masks["0.weight"]])
    assert not torch.equal(masks["0.weight"][:, 0, 0, 0], masks["2.weight"][:, 0, 0, 0])


def test_what_cannot_be_meant_is_refused() -> None:
    output = LAYERS[-1]
    assert "remove a class" in refusal(lambda: dropout_mask(output, 0.5, 0))
    assert dropconnect_mask(output, 0.5, 0).shape == output.shape
    for rate in (1.0, -0.1, float("nan")):
        assert "[0, 1)" in refusal(lambda rate=rate: dropconnect_mask(HERE, rate, 0))
    assert "dropuot" in refusal(lambda: frozen("dropuot", LAYERS, 0.5, 0))
    with pytest.raises(PruningError):
        dropped(W, W > 0, 1.0)


@pytest.mark.parametrize("name", REGULARISERS)
def test_regularisers_describe_themselves(name: str) -> None:
    found = REGULARISERS[name]
    assert is_sentence(found.help)
    assert found.formula.startswith("y = ")
    assert found.source
