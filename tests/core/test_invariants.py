"""What must hold for every criterion x granularity x allocation on every network of the zoo.

All three axes treat layers that differ only in size the same, so each network contributes the two
smallest layers of every kind. `test_masks_are_exact_whole_and_nested` shows that masks are nested
in the count, and `test_counts_of_allocations_rise` that counts rise with the sparsity.
"""

from collections.abc import Iterator
from dataclasses import fields, replace
from functools import cache, partial
from itertools import product

import pytest
import torch
from torch import Tensor

from pruning_core.allocation import ALLOCATIONS, total_ratio
from pruning_core.criteria import CRITERIA, Criterion, criterion, refusal
from pruning_core.granularity import GRANULARITIES, Granularity, supports, to_groups
from pruning_core.masks import achieved, apply_masks, group_scores, n_removed, select
from pruning_core.model.inventory import inventory
from pruning_core.types import GroupScores, Layer, Scores
from pruning_core.zoo.models import ARCHITECTURES
from tests.cases import check_each
from tests.core.foreign import FOREIGN
from tests.core.toy import is_sentence, same_state, state

SHAPE = (1, 8, 8)
SPARSITIES = (0.0, 0.1, 0.33, 0.5, 0.77, 0.9, 1.0)
RANKED = ("global", "lamp")
OPEN = [g for g in GRANULARITIES.values() if g.fixed_ratio is None]
"""Granularities without a fixed ratio."""
VARIED = ("mobilenet", "vit")
"""Together these networks have all kinds of layers. All criteria run on them."""
PAIRS = [
    pytest.param(arch, how, id=f"{arch}-{how}")
    for arch in ARCHITECTURES
    for how in (CRITERIA if arch in VARIED else ("magnitude_l1", "bn_scale", "taylor"))
]
FOREIGN_PAIRS = list(product(FOREIGN, CRITERIA))


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """The tensors are small: with more threads, most of the time is spent on synchronisation."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def network(arch: str) -> tuple[torch.nn.Module, tuple[Layer, ...]]:
    """A network with random batch-norm scales, and its smallest layers of every kind."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = FOREIGN[arch]() if arch in FOREIGN else ARCHITECTURES[arch].build(SHAPE, 10)
        model = built.eval()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.normal_(module.weight)
    return model, smallest(inventory(model, SHAPE))


def smallest(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Of every kind, the two smallest layers of different shapes, in the network's order."""
    chosen: dict[object, dict[tuple[int, ...], str]] = {}
    for layer in sorted(layers, key=lambda layer: layer.numel):
        kind = (layer.kind, layer.shape[2:], layer.bn is None, layer.is_output)
        of_kind = chosen.setdefault(kind, {})
        if len(of_kind) < 2:
            of_kind.setdefault(layer.shape, layer.name)
    names = {name for of_kind in chosen.values() for name in of_kind.values()}
    return tuple(layer for layer in layers if layer.name in names)


def quick(how: Criterion) -> Criterion:
    """The criterion, with three rounds if it has rounds."""
    return replace(how, rounds=3) if "rounds" in {f.name for f in fields(how)} else how


@cache
def scored(arch: str, how: str, seed: int = 0) -> tuple[tuple[Layer, ...], Scores]:
    model, every = network(arch)
    scoring = quick(criterion(how, seed))
    layers = tuple(x for x in every if scoring.supports(x) is None)
    rng = torch.Generator().manual_seed(1)
    batches = [(torch.randn(8, *SHAPE, generator=rng), torch.arange(8))]
    return layers, scoring(model, layers, batches) if layers else {}


@cache
def grouped(arch: str, how: str, shape: str) -> tuple[tuple[Layer, ...], GroupScores]:
    layers, scores = scored(arch, how)
    g = GRANULARITIES[shape]
    ranked = tuple(
        x for x in layers if supports(g, x) is None and refusal(CRITERIA[how], g, x) is None
    )
    return ranked, group_scores(scores, ranked, g, CRITERIA[how].pool)


def masks_at(
    arch: str, how: str, shape: str, ratio: float, allow_collapse: bool = False
) -> dict[str, Tensor]:
    layers, groups = grouped(arch, how, shape)
    return select(
        groups,
        layers,
        GRANULARITIES[shape],
        {x.name: ratio for x in layers},
        allow_collapse=allow_collapse,
    )


@pytest.mark.parametrize(("arch", "how"), PAIRS)
def test_masks_are_exact_whole_and_nested(arch: str, how: str) -> None:
    """Counts do not depend on the criterion, so that one has all sparsities."""
    sparsities = SPARSITIES if how == "magnitude_l1" else (0.33, 0.9)
    check_each(
        GRANULARITIES,
        lambda shape: masks_are_exact_whole_and_nested(arch, how, shape, sparsities),
    )


def test_masks_of_other_kinds_are_exact_whole_and_nested() -> None:
    """Every criterion and granularity on the kinds of weights that the zoo does not have."""
    check_each(product(FOREIGN_PAIRS, GRANULARITIES), masks_of_a_pair)


def masks_of_a_pair(pair: tuple[str, str], shape: str) -> None:
    """That masks are nested and counts exact does not depend on the criterion."""
    sparsities = (0.33, 0.9) if pair[1] == "magnitude_l1" else (0.5,)
    masks_are_exact_whole_and_nested(*pair, shape, sparsities)
    layers, scores = scored(*pair)
    assert all(scores[x.name].any() for x in layers), "all scores of a layer are zero"


def expected_count(g: Granularity, ratio: float, groups: int) -> int:
    """How many groups of a scope must be removed, written out."""
    if g.n_kept is not None:
        return groups - g.n_kept if ratio else 0
    return min(round(ratio * groups), groups - 1)


def masks_are_exact_whole_and_nested(
    arch: str, how: str, shape: str, sparsities: tuple[float, ...]
) -> None:
    g = GRANULARITIES[shape]
    layers, groups = grouped(arch, how, shape)
    before = {x.name: torch.ones(x.shape, dtype=torch.bool) for x in layers}
    for ratio in sparsities:
        masks = masks_at(arch, how, shape, ratio)
        assert masks.keys() == before.keys()
        for x in layers:
            cells = to_groups(masks[x.name], g, x)
            count = groups[x.name].shape[1]
            whole = cells[..., 0]
            assert torch.equal(cells, whole[..., None].expand_as(cells)), (
                "a group is removed in part"
            )
            wanted = expected_count(g, ratio, count)
            assert ((~whole).sum(1) == wanted).all(), "the count in a scope is not exact"
            assert not (masks[x.name] & ~before[x.name]).any(), (
                "a weight is kept at this sparsity but not at a lower one"
            )
            kept = groups[x.name].masked_fill(~whole, torch.inf)
            removed = groups[x.name].masked_fill(whole, -torch.inf)
            assert (kept.amin(1) >= removed.amax(1)).all(), (
                "a kept group scores lower than a removed one"
            )
        before = masks


@pytest.mark.parametrize(("arch", "how"), PAIRS)
def test_counts_of_allocations_rise(arch: str, how: str) -> None:
    """Ratios are in [0, 1], counts rise, and ranked totals are within half a group if reachable."""
    check_each(product(ALLOCATIONS, OPEN), partial(counts_rise, arch, how))


def counts_rise(arch: str, how: str, name: str, g: Granularity) -> None:
    layers, groups = grouped(arch, how, g.name)
    sizes = {x.name: groups[x.name].shape[1] for x in layers}
    before = dict.fromkeys(sizes, 0)
    for sparsity in (0.0, 0.1, 0.5, 0.9, 1.0) if how == "magnitude_l1" else (0.33, 0.9):
        ratios = ALLOCATIONS[name](layers, groups, sparsity)
        assert ratios.keys() == sizes.keys()
        assert all(0 <= ratio <= 1 for ratio in ratios.values())
        counts = {key: n_removed(g, ratio, sizes[key]) for key, ratio in ratios.items()}
        assert all(counts[key] >= before[key] for key in counts), (
            "a layer loses less at a higher sparsity"
        )
        before = counts
        if name in RANKED and layers:
            total = sum(x.numel for x in layers)
            scopes = {x.name: groups[x.name].shape[0] for x in layers}
            largest = max(x.numel // groups[x.name].numel() for x in layers)
            reachable = sum(x.numel * (1 - scopes[x.name] / groups[x.name].numel()) for x in layers)
            goal = min(round(sparsity * total), reachable)
            assert abs(total_ratio(layers, ratios) * total - goal) <= largest / 2 + 1e-3


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_masks_of_every_allocation_are_nested_and_reach_the_ratios(arch: str) -> None:
    """From sparsity to masks, for every granularity without a fixed ratio."""
    names = [name for name in ALLOCATIONS if name != "uniform"]
    check_each(product(names, OPEN), partial(masks_are_nested_and_reach_the_ratios, arch))


def masks_are_nested_and_reach_the_ratios(arch: str, name: str, g: Granularity) -> None:
    layers, groups = grouped(arch, "magnitude_l1", g.name)
    before = {x.name: torch.ones(x.shape, dtype=torch.bool) for x in layers}
    for sparsity in (0.33, 0.9):
        ratios = ALLOCATIONS[name](layers, groups, sparsity)
        masks = select(groups, layers, g, ratios)
        reached = achieved(masks)
        for x in layers:
            count = groups[x.name].shape[1]
            assert (
                abs(reached[x.name] - ratios[x.name])
                <= (0.5 if ratios[x.name] < 1 - 1 / count else 1) / count + 1e-9
            )
            assert not (masks[x.name] & ~before[x.name]).any()
        before = masks


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_scope_is_emptied_only_when_allowed(arch: str) -> None:
    check_each(GRANULARITIES, partial(is_emptied_only_when_allowed, arch))


def is_emptied_only_when_allowed(arch: str, shape: str) -> None:
    g = GRANULARITIES[shape]
    layers, _ = grouped(arch, "magnitude_l1", shape)
    kept, emptied = (
        masks_at(arch, "magnitude_l1", shape, 1.0, allowed) for allowed in (False, True)
    )
    for x in layers:
        assert to_groups(kept[x.name], g, x).any(-1).any(1).all()
        assert emptied[x.name].any() == (g.n_kept is not None)


@pytest.mark.parametrize(("arch", "how"), PAIRS)
def test_the_same_seed_gives_the_same_masks(arch: str, how: str) -> None:
    """Scoring never changes the network."""
    before = state(network(arch)[0])
    layers, scores = scored(arch, how)
    again = scored.__wrapped__(arch, how)[1]
    assert same_state(network(arch)[0], before)
    assert scores.keys() == again.keys()
    assert all(torch.equal(scores[x.name], again[x.name]) for x in layers)
    assert (criterion(how, 1) == criterion(how, 0)) == (how != "random")
    if how == "random":
        other = scored(arch, how, seed=1)[1]
        assert not any(torch.equal(scores[x.name], other[x.name]) for x in layers)
    first = masks_at(arch, how, "fine", 0.5)
    assert all(
        torch.equal(mask, masks_at(arch, how, "fine", 0.5)[key]) for key, mask in first.items()
    )


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_network_is_never_changed(arch: str) -> None:
    """Nor are the scores: many masks are made from them."""
    model, layers = network(arch)
    before = state(model)
    _, scores = scored(arch, "magnitude_l1")
    scores_before = {name: values.clone() for name, values in scores.items()}
    for shape, g in GRANULARITIES.items():
        supported, groups = grouped(arch, "magnitude_l1", shape)
        groups_before = {name: values.clone() for name, values in groups.items()}
        for name in ("uniform", *RANKED):
            masks = select(groups, supported, g, ALLOCATIONS[name](supported, groups, 0.5))
        apply_masks(model, masks, layers)
        assert all(torch.equal(groups[name], old) for name, old in groups_before.items())
    assert all(torch.equal(scores[name], old) for name, old in scores_before.items())
    assert same_state(model, before)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(("arch", "how"), PAIRS)
def test_scores_never_alias_the_model(arch: str, how: str) -> None:
    """No score shares memory with a parameter or buffer."""
    model, _ = network(arch)
    own = {tensor.untyped_storage().data_ptr() for tensor in model.state_dict().values()}
    _, scores = scored(arch, how)
    assert own.isdisjoint(values.untyped_storage().data_ptr() for values in scores.values())


@pytest.mark.parametrize("arch", [*ARCHITECTURES, *FOREIGN])
def test_every_refusal_is_one_sentence_that_names_its_layer(arch: str) -> None:
    model, _ = network(arch)
    layers = inventory(model, SHAPE)
    reasons = [(x, supports(g, x)) for g in GRANULARITIES.values() for x in layers]
    reasons += [
        (x, refusal(how, g, x))
        for how in CRITERIA.values()
        for g in GRANULARITIES.values()
        for x in layers
    ]
    assert any(reason for _, reason in reasons)
    for x, reason in reasons:
        assert reason is None or (x.name in reason and is_sentence(reason) and ". " not in reason)
