"""Random masks of one pass: their counts, mean and spread, and the plan of a frozen one."""

from functools import cache, partial
from itertools import product

import pytest
import torch
from torch import nn

from pruning_core.dropout import (
    REGULARISERS,
    as_plan,
    dropped_share,
    frozen_masks,
    sample_mask,
    training_weight,
)
from pruning_core.hand_edits import HandEdits
from pruning_core.masks import achieved, apply_masks
from pruning_core.model.inventory import inventory
from pruning_core.model.mask_forms import checked_masks
from pruning_core.pipeline import choose_masks
from pruning_core.plan import Plan
from pruning_core.types import Layer, PruningError
from pruning_core.workspaces import Workspace, open_workspace
from tests.core.toy import LAYERS, is_sentence, layer, refusal

HERE = layer((6, 4, 1, 1))
RATE = 0.4
PASSES = 800
W = torch.linspace(-1, 2, 24).view(6, 4, 1, 1)
V = torch.tensor([0.5, -1.0, 2.0, 1.0])


@cache
def samples(name: str) -> tuple[torch.Tensor, ...]:
    return tuple(sample_mask(name, HERE, RATE, seed) for seed in range(PASSES))


def passes(name: str) -> torch.Tensor:
    """W v of every pass: passes x outputs."""
    found = [training_weight(W, mask, RATE) for mask in samples(name)]
    return torch.stack(found)[:, :, :, 0, 0].double() @ V.double()


@pytest.mark.parametrize("name", REGULARISERS)
def test_the_mean_over_passes_is_the_pass_without_dropping(name: str) -> None:
    y = (W[:, :, 0, 0] @ V).double()
    seen = passes(name)
    error = seen.std(0) / PASSES**0.5
    assert ((seen.mean(0) - y).abs() < 4 * error + 1e-9).all()


def test_dropout_varies_whole_outputs_and_dropconnect_single_products() -> None:
    w = W[:, :, 0, 0].double()
    spread = RATE / (1 - RATE)
    whole = (w @ V.double()).square()
    single = (w * V.double()).square().sum(1)
    torch.testing.assert_close(passes("dropout").var(0), spread * whole, rtol=0.08, atol=1e-9)
    torch.testing.assert_close(passes("dropconnect").var(0), spread * single, rtol=0.08, atol=1e-9)


def test_dropout_drops_rows_and_dropconnect_weights() -> None:
    rows = sample_mask("dropout", layer((400, 5, 3, 3)), 0.25, 0).flatten(1)
    assert torch.equal(rows, rows[:, :1].expand_as(rows))
    assert float(rows[:, 0].double().mean()) == pytest.approx(
        0.75, abs=4 * (0.25 * 0.75 / 400) ** 0.5
    )
    weights = sample_mask("dropconnect", layer((400, 5, 3, 3)), 0.25, 0)
    assert float(weights.double().mean()) == pytest.approx(
        0.75, abs=4 * (0.25 * 0.75 / 18000) ** 0.5
    )
    assert bool((weights.flatten(1).any(1) & ~weights.flatten(1).all(1)).all())


@pytest.mark.parametrize("name", REGULARISERS)
def test_every_pass_has_its_own_mask_and_its_seed_gives_it_again(name: str) -> None:
    here = layer((64, 4, 1, 1))
    before = torch.get_rng_state()
    assert torch.equal(sample_mask(name, here, 0.5, 1), sample_mask(name, here, 0.5, 1))
    assert not torch.equal(sample_mask(name, here, 0.5, 1), sample_mask(name, here, 0.5, 2))
    assert sample_mask(name, here, 0.0, 1).all()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", REGULARISERS)
def test_a_frozen_sample_is_random_pruning(name: str) -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.Flatten(), nn.Linear(512, 3)
    )
    layers = inventory(model, (1, 8, 8))
    masks = frozen_masks(name, layers[:2], 0.5, 7)
    assert checked_masks(masks, layers).keys() == masks.keys()
    assert all(0.2 < share < 0.8 for share in achieved(masks).values())
    work = apply_masks(model, masks, layers)
    assert not work.get_parameter("0.weight")[~masks["0.weight"]].any()
    assert torch.equal(
        work.get_parameter("0.weight")[masks["0.weight"]],
        model.get_parameter("0.weight")[masks["0.weight"]],
    )
    assert not torch.equal(masks["0.weight"][:, 0, 0, 0], masks["2.weight"][:, 0, 0, 0])


@pytest.fixture(scope="module")
def space() -> Workspace:
    return open_workspace("lenet5", "digits")


def named(space: Workspace, name: str) -> Layer:
    return next(each for each in space.layers if each.name == name)


@pytest.mark.parametrize("name", REGULARISERS)
@pytest.mark.parametrize("rate", [0.0, 0.35, 0.9])
def test_the_plan_of_a_sample_has_exactly_its_mask_and_keeps_other_layers_dense(
    space: Workspace, name: str, rate: float
) -> None:
    conv = named(space, "conv2.weight")
    old = Plan("lenet5", overrides=(("fc1.weight", 0.7), ("conv2.weight", 0.1)))
    for number in range(1, 6):
        plan = as_plan(old, name, conv, rate, number)
        _, masks = choose_masks(Plan.from_json(plan.to_json()), space)
        assert torch.equal(masks[conv.name], sample_mask(name, conv, rate, number))
        assert all(mask.all() for other, mask in masks.items() if other != conv.name)
        assert achieved(masks)[conv.name] == pytest.approx(dropped_share(name, conv, rate, number))


@pytest.mark.parametrize("name", REGULARISERS)
def test_layers_frozen_from_one_pass_are_kept_until_another_pass(
    space: Workspace, name: str
) -> None:
    layers = [named(space, other) for other in ("conv2.weight", "fc1.weight")]
    plan = Plan("lenet5")
    for each in layers:
        plan = as_plan(plan, name, each, 0.4, 3)
    masks = choose_masks(plan, space)[1]
    assert all(
        torch.equal(masks[other], mask)
        for other, mask in frozen_masks(name, layers, 0.4, 3).items()
    )
    assert as_plan(plan, name, layers[1], 0.4, 3) == plan
    assert [other for other, _ in as_plan(plan, name, layers[1], 0.4, 4).overrides] == [
        "fc1.weight"
    ]


def test_hand_edits_that_would_change_the_sample_are_dropped(
    space: Workspace,
) -> None:
    mine = HandEdits("conv2.weight", "fine", ((0, 0, True),))
    other = HandEdits("fc1.weight", "fine", ((0, 1, False),))
    waits = HandEdits("conv2.weight", "kernel", ((0, 2, False),))
    conv = named(space, "conv2.weight")
    assert as_plan(
        Plan("lenet5", edits=(mine, other, waits)), "dropconnect", conv, 0.5, 1
    ).edits == (waits,)
    same = Plan(
        "lenet5", criterion="random", allocation="manual", seed=1, edits=(mine, other, waits)
    )
    assert as_plan(same, "dropconnect", conv, 0.5, 1).edits == (other, waits)


def test_a_pass_that_drops_every_output_is_frozen_as_it_is(space: Workspace) -> None:
    conv = named(space, "conv1.weight")
    number = next(
        number for number in range(1000) if dropped_share("dropout", conv, 0.9, number) == 1
    )
    plan = as_plan(Plan("lenet5"), "dropout", conv, 0.9, number)
    assert plan.allow_collapse
    assert not choose_masks(plan, space)[1][conv.name].any()


def test_subsets_are_dropped_as_often_as_by_independent_draws() -> None:
    """The first three outputs: each of their 8 subsets within 4 standard errors of p^dropped (1 -
    p)^kept.
    """
    seen = [tuple(mask[:3, 0, 0, 0].tolist()) for mask in samples("dropout")]
    for kept in product((True, False), repeat=3):
        chance = (1 - RATE) ** sum(kept) * RATE ** (3 - sum(kept))
        assert seen.count(kept) / PASSES == pytest.approx(
            chance, abs=4 * (chance * (1 - chance) / PASSES) ** 0.5
        )


def test_impossible_requests_are_refused() -> None:
    output = LAYERS[-1]
    assert "remove a class" in refusal(lambda: sample_mask("dropout", output, 0.5, 0))
    assert sample_mask("dropconnect", output, 0.5, 0).shape == output.shape
    for rate in (1.0, -0.1, float("nan")):
        assert "[0, 1)" in refusal(partial(sample_mask, "dropconnect", HERE, rate, 0))
    assert "dropuot" in refusal(lambda: frozen_masks("dropuot", LAYERS, 0.5, 0))
    with pytest.raises(PruningError):
        training_weight(W, W > 0, 1.0)


@pytest.mark.parametrize("name", REGULARISERS)
def test_regularisers_describe_themselves(name: str) -> None:
    found = REGULARISERS[name]
    assert is_sentence(found.help)
    assert found.formula.startswith("y = ")
    assert found.source
