"""Ratios per layer against the target, loops over the papers' formulas, and torch's pruning."""

from collections.abc import Sequence
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from pruning_core.allocation import (
    ALLOCATIONS,
    fit_ratios,
    lamp_scores,
    rank_globally,
    total_ratio,
    with_overrides,
)
from pruning_core.granularity import granularity
from pruning_core.masks import exclude_removed, group_scores, select
from pruning_core.model.inventory import inventory, weights
from pruning_core.types import Layer
from pruning_core.zoo.models import ARCHITECTURES
from tests.core.toy import LAYERS, layer, refusal

SPARSITIES = (0.0, 0.1, 0.33, 0.5, 0.77, 0.9, 1.0)
SIZE = sum(x.numel for x in LAYERS)


def scores(
    seed: int = 0, layers: Sequence[Layer] = LAYERS, spread: float = 1.0
) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return {
        x.name: torch.randn(x.shape, generator=rng).abs() * (1 + spread * k)
        for k, x in enumerate(layers)
    }


def grouped(name: str, seed: int = 0, layers: tuple[Layer, ...] = LAYERS) -> dict[str, Tensor]:
    return group_scores(scores(seed, layers), layers, granularity(name), "mean_abs")


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_uniform_is_the_same_everywhere_and_manual_is_dense(sparsity: float) -> None:
    assert ALLOCATIONS["uniform"](LAYERS, {}, sparsity) == {x.name: sparsity for x in LAYERS}
    assert ALLOCATIONS["manual"](LAYERS, {}, sparsity) == {x.name: 0.0 for x in LAYERS}


@pytest.mark.parametrize("sparsity", SPARSITIES)
@pytest.mark.parametrize("name", ["uniform", "erk", "global", "lamp"])
def test_totals_meet_the_target(name: str, sparsity: float) -> None:
    """The rankings keep one weight per layer."""
    total = total_ratio(LAYERS, ALLOCATIONS[name](LAYERS, grouped("fine"), sparsity))
    kept = len(LAYERS) if name in ("global", "lamp") else 0
    assert total * SIZE == pytest.approx(min(round(sparsity * SIZE), SIZE - kept), abs=0.51)


@pytest.mark.parametrize("sparsity", SPARSITIES)
@pytest.mark.parametrize("g", ["kernel", "filter", "channel", "shape", "vector_row"])
@pytest.mark.parametrize("name", ["global", "lamp"])
def test_rankings_of_groups_meet_the_target_within_half_a_group(
    name: str, g: str, sparsity: float
) -> None:
    taken = LAYERS[:2]
    groups = grouped(g, layers=taken)
    size = sum(x.numel for x in taken)
    removed = total_ratio(taken, ALLOCATIONS[name](taken, groups, sparsity)) * size
    largest = max(x.numel // groups[x.name].numel() for x in taken)
    reachable = size - sum(x.numel // groups[x.name].numel() for x in taken)
    assert abs(removed - min(sparsity * size, reachable)) <= largest / 2 + 1e-6


@pytest.mark.parametrize("name", ALLOCATIONS)
def test_ratios_lie_in_0_to_1_and_rise_with_the_sparsity(name: str) -> None:
    groups = grouped("fine")
    before = {x.name: 0.0 for x in LAYERS}
    for sparsity in [k / 40 for k in range(41)]:
        ratios = ALLOCATIONS[name](LAYERS, groups, sparsity)
        assert list(ratios) == [x.name for x in LAYERS]
        assert all(before[key] - 1e-9 <= ratio <= 1 for key, ratio in ratios.items())
        before = ratios
    assert set(ALLOCATIONS[name](LAYERS, groups, 0.0).values()) == {0.0}


@pytest.mark.parametrize("name", ALLOCATIONS)
def test_no_layers_have_no_ratios(name: str) -> None:
    assert ALLOCATIONS[name]((), {}, 0.5) == {}


# --- global


@pytest.mark.parametrize("sparsity", SPARSITIES[:-1])
def test_global_agrees_with_torch(sparsity: float) -> None:
    model = ARCHITECTURES["lenet5"].build((1, 8, 8), 10)
    layers = inventory(model, (1, 8, 8))
    g = granularity("fine")
    sizes = [x.numel for x in layers]
    order = (
        torch.randperm(sum(sizes), generator=torch.Generator().manual_seed(0)) + 1.0
    )  # no two alike
    for x, part in zip(layers, order.split(sizes), strict=True):
        model.get_parameter(x.name).data = part.view(x.param_shape)
    groups = group_scores(weights(model, layers), layers, g, "mean_abs")
    masks = select(groups, layers, g, ALLOCATIONS["global"](layers, groups, sparsity))
    owners = [(model.get_submodule(x.module), "weight") for x in layers]
    total = sum(x.numel for x in layers)
    prune.global_unstructured(
        owners, pruning_method=prune.L1Unstructured, amount=round(sparsity * total)
    )
    for x, (module, _) in zip(layers, owners, strict=True):
        assert torch.equal(
            masks[x.name].reshape(x.param_shape), module.get_buffer("weight_mask").bool()
        )


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_global_counts_ties_exactly(sparsity: float) -> None:
    groups = {x.name: torch.ones(1, x.numel) for x in LAYERS}
    removed = total_ratio(LAYERS, rank_globally(LAYERS, groups, sparsity)) * SIZE
    assert removed == pytest.approx(min(round(sparsity * SIZE), SIZE - len(LAYERS)), abs=1e-6)


def test_global_removes_from_the_layer_with_the_small_scores() -> None:
    groups = {
        x.name: torch.arange(1.0, x.numel + 1)[None] + 10_000 * k for k, x in enumerate(LAYERS)
    }
    first = LAYERS[0].numel
    ratios = rank_globally(LAYERS, groups, (first + 99) / SIZE)
    assert ratios["stem.weight"] == 1 - 1 / first
    assert ratios["conv.weight"] == 100 / LAYERS[1].numel
    assert ratios["point.weight"] == ratios["fc.weight"] == 0


def test_global_weighs_groups_by_their_size() -> None:
    """Filters of 9 and of 2 weights: 9 (score 1), 2 (2), 9 (3), 2 (4), and one of each is kept."""
    large = layer((3, 1, 3, 3), name="large.weight")
    small = layer((3, 2, 1, 1), name="small.weight")
    groups = {
        "large.weight": torch.tensor([[1.0, 3.0, 9.0]]),
        "small.weight": torch.tensor([[2.0, 4.0, 9.0]]),
    }
    by_count = {
        removed: rank_globally((large, small), groups, removed / 33)
        for removed in (0, 4, 5, 9, 11, 15, 16, 20, 22, 33)
    }
    counts = {
        removed: (round(3 * r["large.weight"]), round(3 * r["small.weight"]))
        for removed, r in by_count.items()
    }
    assert counts == {
        0: (0, 0),
        4: (0, 0),
        5: (1, 0),
        9: (1, 0),
        11: (1, 1),
        15: (1, 1),
        16: (2, 1),
        20: (2, 1),
        22: (2, 2),
        33: (2, 2),
    }


@pytest.mark.parametrize("name", ["global", "lamp"])
def test_rankings_keep_the_best_of_every_scope(name: str) -> None:
    g = granularity("row")
    groups = grouped("row")
    ratios = ALLOCATIONS[name](LAYERS, groups, 1.0)
    assert all(ratio < 1 for ratio in ratios.values())
    masks = select(groups, LAYERS, g, ratios)
    assert all(mask.flatten(1).any(1).all() for mask in masks.values())


@pytest.mark.parametrize("name", ["global", "lamp", "uniform", "erk", "uniform_plus"])
@pytest.mark.parametrize("g", ["fine", "filter"])
def test_removed_groups_stay_removed_under_new_scores(name: str, g: str) -> None:
    """Three rounds with different scores: removed weights stay removed, and the target is met."""
    layers = LAYERS[:3]
    chosen = granularity(g)
    masks: dict[str, Tensor] = {}
    for number, sparsity in enumerate((0.3, 0.6, 0.7)):
        groups = exclude_removed(grouped(g, number, layers), masks, layers, chosen)
        ratios = ALLOCATIONS[name](layers, groups, sparsity)
        selected = select(groups, layers, chosen, ratios)
        assert all(not (selected[key] & ~mask).any() for key, mask in masks.items())
        masks = selected
    removed = sum(int((~mask).sum()) for mask in masks.values()) / sum(x.numel for x in layers)
    assert removed == pytest.approx(0.7, abs=0.03)


# --- LAMP


def slow_lamp(values: list[float]) -> list[float]:
    """The paper's formula: W_u^2 / sum over v >= u of W_v^2, with weights in ascending order."""
    order = sorted(range(len(values)), key=lambda at: values[at])
    lamp = [0.0] * len(values)
    for place, at in enumerate(order):
        lamp[at] = values[at] ** 2 / sum(values[v] ** 2 for v in order[place:])
    return lamp


def test_lamp_scores_are_the_papers() -> None:
    values = scores()["stem.weight"].flatten()
    torch.testing.assert_close(
        lamp_scores(values[None])[0], torch.tensor(slow_lamp(values.tolist()), dtype=torch.float64)
    )


def test_lamp_worked_by_hand() -> None:
    """1, 4, 9, 36 sum to 50."""
    assert lamp_scores(torch.tensor([[2.0, 6.0, 1.0, 3.0]])).tolist() == [
        [4 / 49, 1.0, 1 / 50, 9 / 45]
    ]
    assert lamp_scores(torch.tensor([[1.0, 1.0, 0.0]])).tolist() == [[0.5, 1.0, 0.0]]
    assert lamp_scores(torch.tensor([[-torch.inf, 1.0, 2.0]])).tolist() == [[-torch.inf, 0.2, 1.0]]
    assert lamp_scores(torch.zeros(1, 3)).tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_lamp_masks_are_those_of_the_papers_global_top_k(sparsity: float) -> None:
    groups = grouped("fine")
    g = granularity("fine")
    masks = select(groups, LAYERS, g, ALLOCATIONS["lamp"](LAYERS, groups, sparsity))
    every = [
        (value, x.name, at)
        for x in LAYERS
        for at, value in enumerate(slow_lamp(groups[x.name].flatten().tolist()))
    ]
    removed = sorted(every)[: min(round(sparsity * SIZE), SIZE - len(LAYERS))]
    for x in LAYERS:
        slow = torch.ones(x.numel, dtype=torch.bool)
        slow[[at for _, name, at in removed if name == x.name]] = False
        assert torch.equal(masks[x.name].flatten(), slow)


def test_lamp_ignores_the_scale_of_a_layer() -> None:
    groups = grouped("fine")
    scaled = {name: part * 10.0**k for k, (name, part) in enumerate(groups.items())}
    assert ALLOCATIONS["lamp"](LAYERS, groups, 0.8) == ALLOCATIONS["lamp"](LAYERS, scaled, 0.8)
    assert ALLOCATIONS["global"](LAYERS, groups, 0.8) != ALLOCATIONS["global"](LAYERS, scaled, 0.8)


# --- ERK and uniform+


def slow_erk(layers: Sequence[Layer], sparsity: float) -> dict[str, float]:
    """eps over the layers that are not dense; the densest becomes dense while any is above 1."""
    raw = {x.name: sum(x.param_shape) / torch.Size(x.param_shape).numel() for x in layers}
    dense: set[str] = set()
    while True:
        wanted = sum(x.numel * (1 - sparsity) for x in layers if x.name not in dense)
        wanted -= sum(x.numel * sparsity for x in layers if x.name in dense)
        eps = wanted / sum(x.numel * raw[x.name] for x in layers if x.name not in dense)
        over = {name: raw[name] for name in raw if name not in dense and raw[name] * eps > 1}
        if not over:
            return {name: 0.0 if name in dense else 1 - eps * raw[name] for name in raw}
        dense |= {name for name, value in over.items() if value == max(over.values())}


@pytest.mark.parametrize("sparsity", [0.1, 0.33, 0.5, 0.77, 0.9, 0.99])
@pytest.mark.parametrize("arch", ["toy", "lenet_300_100", "resnet20", "mobilenet", "vit"])
def test_erk_is_the_papers(arch: str, sparsity: float) -> None:
    layers = (
        LAYERS if arch == "toy" else inventory(ARCHITECTURES[arch].build((1, 8, 8), 10), (1, 8, 8))
    )
    assert ALLOCATIONS["erk"](layers, {}, sparsity) == pytest.approx(
        slow_erk(layers, sparsity), abs=1e-9
    )


def test_erk_worked_by_hand() -> None:
    """Linear 2 x 2 and 8 x 8: raw 1 and 1/4.

    Half of 68 weights would give the small one a density above 1: it stays dense, and 30 of 64 are
    kept in the other.
    """
    small = layer((2, 2, 1, 1), name="small.weight")
    large = layer((8, 8, 1, 1), name="large.weight")
    ratios = ALLOCATIONS["erk"]((small, large), {}, 0.5)
    assert ratios == pytest.approx({"small.weight": 0.0, "large.weight": 1 - 30 / 64}, abs=1e-9)


def test_erk_of_a_conv1d_has_one_kernel_side() -> None:
    layers = inventory(nn.Sequential(nn.Conv1d(2, 4, 3), nn.Conv1d(4, 16, 5)), (2, 16))
    assert ALLOCATIONS["erk"](layers, {}, 0.5) == pytest.approx(slow_erk(layers, 0.5), abs=1e-9)


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_uniform_plus_keeps_the_first_convolution_and_a_fifth_of_the_last_layer(
    sparsity: float,
) -> None:
    ratios = ALLOCATIONS["uniform_plus"](LAYERS, {}, sparsity)
    assert ratios["stem.weight"] == 0
    assert ratios["fc.weight"] <= 0.8
    assert ratios["conv.weight"] == ratios["point.weight"] >= ratios["fc.weight"]
    most = SIZE - LAYERS[0].numel - 0.2 * LAYERS[-1].numel
    assert total_ratio(LAYERS, ratios) * SIZE == pytest.approx(min(sparsity * SIZE, most), abs=1e-6)


def test_uniform_plus_without_convolutions_only_limits_the_last_layer() -> None:
    layers = inventory(ARCHITECTURES["lenet_300_100"].build((1, 8, 8), 10), (1, 8, 8))
    ratios = ALLOCATIONS["uniform_plus"](layers, {}, 0.9)
    assert ratios["fc3.weight"] == pytest.approx(0.8)
    assert ratios["fc1.weight"] == ratios["fc2.weight"] > 0.9


def test_uniform_plus_limits_no_other_layer() -> None:
    middle = LAYERS[1:3]
    assert ALLOCATIONS["uniform_plus"](middle, {}, 0.7) == pytest.approx(
        {x.name: 0.7 for x in middle}
    )


# --- fit and overrides


def test_fit_ratios_mixes_both_sides_of_a_jump() -> None:
    def step(u: float) -> dict[str, float]:
        return {x.name: 0.9 if u > 0.3 else 0.1 for x in LAYERS}

    assert total_ratio(LAYERS, fit_ratios(LAYERS, 0.5, step)) == pytest.approx(0.5)
    assert fit_ratios(LAYERS, 0.95, step) == pytest.approx(step(1.0))


def test_overrides_replace_the_ratios_of_the_allocation() -> None:
    ratios = ALLOCATIONS["uniform"](LAYERS, {}, 0.5)
    assert with_overrides(ratios, {"fc.weight": 0.0, "stem.weight": 1.0}) == ratios | {
        "fc.weight": 0.0,
        "stem.weight": 1.0,
    }
    assert ratios["fc.weight"] == 0.5
    assert "'nowhere'" in refusal(lambda: with_overrides(ratios, {"nowhere": 0.5}))
    for bad in (-0.1, 1.5, float("nan")):
        assert "fc.weight" in refusal(partial(with_overrides, ratios, {"fc.weight": bad}))


def test_lamp_keeps_negative_scores_negative() -> None:
    """s = -2, 0, 1, 2: the negative one is -4 / 4; the positive ones are 1 / (1 + 4) and 4 / 4."""
    assert lamp_scores(torch.tensor([[1.0, -2.0, 0.0, 2.0]]))[0].tolist() == [0.2, -1.0, 0.0, 1.0]
    rng = torch.Generator().manual_seed(1)
    signed = torch.randn(1, 500, generator=rng)
    lamp = lamp_scores(signed)
    assert torch.equal(lamp.argsort(stable=True), signed.argsort(stable=True))
    assert torch.equal(lamp.sign(), signed.double().sign())
