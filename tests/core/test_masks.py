"""Exact counts by rank at every sparsity, with ties; torch.nn.utils.prune is the oracle."""

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from pruning_core.criteria import criterion
from pruning_core.granularity import GRANULARITIES, granularity, n_of_m
from pruning_core.masks import (
    achieved,
    apply_masks,
    exclude_removed,
    group_scores,
    intersect,
    lowest,
    masked_tensors,
    n_removed,
    select,
)
from pruning_core.model.inventory import inventory, weights
from pruning_core.zoo.models import ARCHITECTURES
from tests.core.toy import Toy, layer, matrix, refusal, same_state, state

RATIOS = (0.0, 0.1, 0.33, 0.5, 0.77, 0.9, 1.0)


def distinct(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """The numbers 1, -2, 3, ... in an order fixed by the seed: no two of the same magnitude."""
    n = torch.Size(shape).numel()
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    return ((order + 1) * (1 - 2 * (order % 2))).float().view(shape)


def mask_of(
    w: Tensor, name: str, ratio: float, pool: str = "mean_abs", allow_collapse: bool = False
) -> Tensor:
    of_w = layer(w.shape)
    g = granularity(name)
    return select(
        group_scores({"w": w}, (of_w,), g, pool),
        (of_w,),
        g,
        {"w": ratio},
        allow_collapse=allow_collapse,
    )["w"]


# --- by rank


def test_lowest_worked_by_hand() -> None:
    scores = torch.tensor([[3.0, 1.0, 2.0, 1.0], [0.0, 0.0, 0.0, 5.0]])
    assert lowest(scores, 0).tolist() == [[False] * 4] * 2
    assert lowest(scores, 1).tolist() == [[False, True, False, False], [True, False, False, False]]
    assert lowest(scores, 2).tolist() == [[False, True, False, True], [True, True, False, False]]
    assert lowest(scores, 4).tolist() == [[True] * 4] * 2


@pytest.mark.parametrize("levels", [1, 2, 5, 1000])
def test_lowest_is_the_stable_sort_at_every_count(levels: int) -> None:
    scores = torch.randint(
        0, levels, (3, 40), generator=torch.Generator().manual_seed(levels)
    ).float()
    order = scores.argsort(dim=1, stable=True)
    before = torch.zeros(3, 40, dtype=torch.bool)
    for count in range(41):
        slow = torch.zeros(3, 40, dtype=torch.bool).scatter_(1, order[:, :count], True)
        assert torch.equal(lowest(scores, count), slow)
        assert not (before & ~slow).any()
        before = slow


def test_lowest_marks_removed_groups_first() -> None:
    scores = torch.tensor([[0.0, -torch.inf, 1.0, -torch.inf]])
    assert lowest(scores, 1).tolist() == [[False, True, False, False]]
    assert lowest(scores, 3).tolist() == [[True, True, False, True]]


@pytest.mark.parametrize(
    ("ratio", "groups", "count"),
    [
        (0.0, 10, 0),
        (0.04, 10, 0),
        (0.06, 10, 1),
        (0.5, 10, 5),
        (0.77, 9, 7),
        (0.95, 10, 9),
        (1.0, 10, 9),
        (1.0, 1, 0),
        (0.9, 1, 0),
    ],
)
def test_n_removed_worked_by_hand(ratio: float, groups: int, count: int) -> None:
    assert n_removed(granularity("fine"), ratio, groups) == count


def test_n_removed_may_collapse_a_layer_when_allowed() -> None:
    assert n_removed(granularity("fine"), 1.0, 10, allow_collapse=True) == 10
    assert n_removed(granularity("fine"), 0.95, 10, allow_collapse=True) == round(9.5)


def test_n_of_m_counts_by_itself() -> None:
    for n, m in itertools.combinations(range(1, 9), 2):
        g = n_of_m(n, m)
        assert [n_removed(g, ratio, m) for ratio in (0.0, 0.01, 0.5, 1.0)] == [
            0,
            m - n,
            m - n,
            m - n,
        ]
    assert n_removed(granularity("2:4"), 1.0, 4, allow_collapse=True) == 2


@pytest.mark.parametrize("ratio", [-0.01, 1.01, float("nan"), float("inf")])
def test_ratios_outside_0_to_1_are_refused_in_a_sentence(ratio: float) -> None:
    assert "outside [0, 1]" in refusal(lambda: mask_of(distinct((4, 4, 1, 1)), "fine", ratio))


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize(
    "name", [name for name, g in GRANULARITIES.items() if not g.spans_attention]
)
def test_equal_weights_are_removed_in_exact_numbers(name: str, ratio: float) -> None:
    g = granularity(name)
    mask = mask_of(torch.ones(8, 8, 3, 3), name, ratio)
    groups = {
        "row": 72,
        "vector_row": 192,
        "vector_col": 192,
        "kernel": 64,
        "filter": 8,
        "channel": 8,
        "shape": 72,
        "block:4x4": 4,
    }
    count = n_removed(g, ratio, dict(g.sizes)["m"] if g.n_kept else groups.get(name, 576))
    share = count / (dict(g.sizes)["m"] if g.n_kept else groups.get(name, 576))
    assert int((~mask).sum()) == round(share * 576)


def test_all_but_one_and_all() -> None:
    w = distinct((4, 4, 1, 1))
    assert mask_of(w, "fine", 1.0).sum() == 1
    assert mask_of(w, "fine", 1.0)[w.abs() == 16].all()
    assert mask_of(w, "row", 1.0).sum((1, 2, 3)).tolist() == [1, 1, 1, 1]
    assert mask_of(w, "filter", 1.0).any((1, 2, 3)).sum() == 1
    assert mask_of(w, "fine", 1.0, allow_collapse=True).sum() == 0
    assert mask_of(w, "fine", 0.0).all()


# --- oracles


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("shape", [(7, 5, 3, 3), (6, 4, 1, 1)])
def test_fine_agrees_with_torch(ratio: float, shape: tuple[int, ...]) -> None:
    w = distinct(shape)
    module = nn.Conv2d(shape[1], shape[0], shape[2])
    module.weight.data = w.clone()
    prune.l1_unstructured(module, "weight", amount=n_removed(granularity("fine"), ratio, w.numel()))
    assert torch.equal(mask_of(w, "fine", ratio), module.get_buffer("weight_mask").bool())


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize(("n", "pool"), [(1, "mean_abs"), (2, "l2")])
@pytest.mark.parametrize(("name", "dim"), [("filter", 0), ("channel", 1)])
def test_filter_and_channel_agree_with_torch(
    name: str, dim: int, n: int, pool: str, ratio: float
) -> None:
    w = distinct((9, 11, 3, 3), seed=4)
    module = nn.Conv2d(11, 9, 3)
    module.weight.data = w.clone()
    prune.ln_structured(
        module, "weight", amount=n_removed(granularity(name), ratio, w.shape[dim]), n=n, dim=dim
    )
    assert torch.equal(mask_of(w, name, ratio, pool), module.get_buffer("weight_mask").bool())


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (4, 8), (3, 5), (1, 2)])
def test_n_of_m_agrees_with_a_loop(n: int, m: int) -> None:
    w = distinct((3, 2 * m, 2, 1), seed=m)
    slow = torch.zeros_like(w, dtype=torch.bool)
    for o, run, h in itertools.product(range(3), range(2), range(2)):
        inside = w[o, run * m : (run + 1) * m, h, 0].abs()
        for i in inside.argsort(descending=True)[:n].tolist():
            slow[o, run * m + i, h, 0] = True
    assert torch.equal(mask_of(w, f"{n}:{m}", 0.5), slow)


@pytest.mark.parametrize("name", ["row", "vector_row", "vector_col", "kernel", "shape"])
@pytest.mark.parametrize("ratio", [0.33, 0.77])
def test_other_granularities_agree_with_loops(name: str, ratio: float) -> None:
    """The removed weights, written as index sets by hand."""
    w = distinct((4, 6, 3, 3), seed=9).double()
    o, i, h, k = (range(n) for n in w.shape)
    every = slice(None)
    by_name: dict[str, list[list[tuple[int | slice, ...]]]] = {
        "row": [[(a, b, c, d) for b in i for c in h for d in k] for a in o],
        "vector_row": [[(a, b, c, every) for a in o for b in i for c in h]],
        "vector_col": [[(a, b, every, d) for a in o for b in i for d in k]],
        "kernel": [[(a, b, every, every) for a in o for b in i]],
        "shape": [[(every, b, c, d) for b in i for c in h for d in k]],
    }
    slow = torch.ones(w.shape, dtype=torch.bool)
    for groups in by_name[name]:
        ranked = sorted(groups, key=lambda at: float(w[at].abs().sum()))
        for at in ranked[: round(ratio * len(groups))]:
            slow[at] = False
    assert torch.equal(mask_of(w, name, ratio), slow)


# --- scores


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_broken_weights_are_refused_in_a_sentence(bad: float) -> None:
    model = Toy()
    layers = inventory(model, (1, 2, 2))
    model.get_parameter("3.weight").data[0, 0] = bad
    scores = criterion("magnitude_l1")(model, layers, ())
    assert "1 of the scores of 3.weight" in refusal(
        lambda: group_scores(scores, layers, granularity("fine"), "mean_abs")
    )
    assert "3.weight" in refusal(lambda: inventory(model, (1, 2, 2)))


def test_unsupported_layers_have_no_group_scores() -> None:
    model = ARCHITECTURES["lenet5"].build((1, 8, 8), 10)
    layers = inventory(model, (1, 8, 8))
    groups = group_scores(weights(model, layers), layers, granularity("kernel"), "mean_abs")
    assert groups.keys() == {"conv1.weight", "conv2.weight"}
    assert "no layer 'fc1.weight'" in refusal(
        lambda: select(groups, layers, granularity("kernel"), {"fc1.weight": 0.5})
    )
    assert "no layer 'nowhere'" in refusal(
        lambda: select(groups, layers, granularity("kernel"), {"nowhere": 0.5})
    )


def test_only_layers_with_a_ratio_get_a_mask() -> None:
    model = Toy()
    layers = inventory(model, (1, 2, 2))
    groups = group_scores(weights(model, layers), layers, granularity("fine"), "mean_abs")
    assert select(groups, layers, granularity("fine"), {"3.weight": 0.5}).keys() == {"3.weight"}


# --- masks


def test_apply_masks_worked_by_hand() -> None:
    """The convolution keeps 1, 3 and 5, 7: an image of ones gives 4 and 12, then 12, 44, 76."""
    model = Toy()
    layers = inventory(model, (1, 2, 2))
    before = state(model)
    mask = torch.tensor([False, True, False, True]).view(1, 1, 2, 2).expand(2, 1, 2, 2)
    pruned = apply_masks(model, {"0.weight": mask}, layers)
    assert pruned(torch.ones(1, 1, 2, 2)).tolist() == [[12, 44, 76]]
    assert same_state(model, before)
    pruned.get_parameter("3.weight").data.zero_()
    assert same_state(model, before)


def test_apply_masks_zeroes_exactly_what_is_removed() -> None:
    model = ARCHITECTURES["vit"].build((1, 8, 8), 10)
    layers = inventory(model, (1, 8, 8))
    masks = {
        x.name: torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) > 0.5
        for x in layers
    }
    pruned = apply_masks(model, masks, layers)
    found = weights(pruned, layers)
    original = weights(model, layers)
    for name, mask in masks.items():
        assert torch.equal(found[name], original[name] * mask)
    untouched = dict(pruned.named_parameters()).keys() - masks.keys()
    assert all(
        torch.equal(pruned.get_parameter(name), model.get_parameter(name)) for name in untouched
    )


def test_masked_tensors_are_all_that_apply_masks_changes() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3))
    model[1].weight = model[0].weight
    layers = inventory(model, (4,))
    masks = {
        layers[-1].name: torch.rand(layers[-1].shape) > 0.5,
        "0.weight": torch.zeros(4, 4, 1, 1),
    }
    dependent = {"0.bias": torch.tensor([True, False, True, True])}
    tensors = masked_tensors(model, masks, layers, dependent)
    assert tensors.keys() == {"0.weight", "0.bias", "2.weight"}
    copy = apply_masks(model, masks, layers, dependent)
    for name, parameter in copy.named_parameters():
        assert torch.equal(tensors.get(name, model.get_parameter(name)), parameter)


def test_apply_masks_to_non_contiguous_and_tied_weights() -> None:
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    model[0].weight = nn.Parameter(torch.arange(1.0, 10.0).view(3, 3).t())
    model[1].weight = model[0].weight
    layers = inventory(model, (3,))
    mask = torch.eye(3, dtype=torch.bool)[:, :, None, None]
    mask[0, 2] = True
    pruned = apply_masks(model, {"0.weight": mask}, layers)
    assert pruned[1].weight is pruned[0].weight
    assert pruned.get_parameter("1.weight").tolist() == [[1, 0, 7], [0, 5, 0], [0, 0, 9]]


def test_removed_means_zero_even_where_a_weight_was_negative() -> None:
    model = nn.Linear(2, 1, bias=False)
    model.weight.data = torch.tensor([[-1.0, -2.0]])
    pruned = apply_masks(
        model, {"weight": torch.tensor([False, True]).view(1, 2, 1, 1)}, inventory(model, (2,))
    )
    assert pruned.weight.tolist() == [[0.0, -2.0]]
    assert not torch.signbit(pruned.weight[0, 0])


def test_masks_that_do_not_fit_are_refused_in_a_sentence() -> None:
    model = Toy()
    layers = inventory(model, (1, 2, 2))
    assert "belongs to no layer" in refusal(
        lambda: apply_masks(model, {"1.weight": torch.ones(2, 1, 1, 1, dtype=torch.bool)}, layers)
    )


def test_intersect_keeps_what_both_keep() -> None:
    yes = torch.ones(1, 2, 1, 1, dtype=torch.bool)
    first = yes.clone()
    second = yes.clone()
    first[0, 0] = False
    second[0, 1] = False
    both = intersect({"a": first, "b": first}, {"a": second, "c": second})
    assert {name: mask.flatten().tolist() for name, mask in both.items()} == {
        "a": [False, False],
        "b": [False, True],
        "c": [True, False],
    }


def test_exclude_removed_puts_removed_groups_first() -> None:
    here = layer((2, 3, 1, 1))
    g = granularity("channel")
    groups = group_scores({"w": matrix("3 1 2\n3 1 2")}, (here,), g, "mean_abs")
    mask = torch.tensor([False, True, True]).view(1, 3, 1, 1).expand(2, 3, 1, 1)
    assert exclude_removed(groups, {"w": mask}, (here,), g)["w"].tolist() == [[-torch.inf, 1, 2]]
    assert exclude_removed(groups, {}, (here,), g)["w"].tolist() == [[3, 1, 2]]
    assert groups["w"].tolist() == [[3, 1, 2]]


def test_achieved_counts_weights() -> None:
    mask = torch.tensor([True, False, False, False]).view(2, 2, 1, 1)
    assert achieved({"w": mask, "v": ~mask}) == {"w": 0.75, "v": 0.25}
