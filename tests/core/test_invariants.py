"""What must hold for every criterion x granularity x allocation on every network of the zoo,
whatever the numbers are.

Layers that differ in size alone are treated alike on all three axes, so of each network the two
smallest layers of every kind are taken. Masks are nested in the count by `test_marks_are_exact_whole_and_nested`, counts rise with
the sparsity by `test_allocations_ask_for_rising_counts`.
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
from tests.core.toy import is_sentence, same_state, state

SHAPE = (1, 8, 8)
SPARSITIES = (0.0, 0.1, 0.33, 0.5, 0.77, 0.9, 1.0)
RANKED = ("global", "lamp")
OPEN = [g for g in GRANULARITIES.values() if g.fixed_ratio is None]
"""Granularities that leave the ratio open."""
VARIED = ("mobilenet", "vit")
"""Networks that have all kinds of layers between them: criteria differ in their numbers alone, so
they need no more.
"""
PAIRS = [
    pytest.param(arch, how, id=f"{arch}-{how}")
    for arch in ARCHITECTURES
    for how in (CRITERIA if arch in VARIED else ("magnitude_l1", "bn_scale", "taylor"))
]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Many small tensors: on a busy machine threads would wait for each other most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def network(arch: str) -> tuple[torch.nn.Module, tuple[Layer, ...]]:
    """A network with shifted batch-norm scales, and its smallest layers of every kind."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ARCHITECTURES[arch].build(SHAPE, 10).eval()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.normal_(module.weight)
    return model, smallest(inventory(model, SHAPE))


def smallest(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Of every kind, the two smallest layers of different shapes, in the network's order."""
    taken: dict[object, dict[tuple[int, ...], str]] = {}
    for layer in sorted(layers, key=lambda each: each.numel):
        kind = (layer.kind, layer.shape[2:], layer.bn is None, layer.is_output)
        alike = taken.setdefault(kind, {})
        if len(alike) < 2:
            alike.setdefault(layer.shape, layer.name)
    names = {name for alike in taken.values() for name in alike.values()}
    return tuple(layer for layer in layers if layer.name in names)


def quick(how: Criterion) -> Criterion:
    """The criterion, in three rounds if it has rounds."""
    return replace(how, rounds=3) if "rounds" in {f.name for f in fields(how)} else how


@cache
def scored(arch: str, how: str, seed: int = 0) -> tuple[tuple[Layer, ...], Scores]:
    model, every = network(arch)
    found = quick(criterion(how, seed))
    layers = tuple(x for x in every if found.supports(x) is None)
    rng = torch.Generator().manual_seed(1)
    batches = [(torch.randn(8, *SHAPE, generator=rng), torch.arange(8))]
    return layers, found(model, layers, batches) if layers else {}


@cache
def grouped(arch: str, how: str, shape: str) -> tuple[tuple[Layer, ...], GroupScores]:
    layers, scores = scored(arch, how)
    g = GRANULARITIES[shape]
    taken = tuple(
        x for x in layers if supports(g, x) is None and refusal(CRITERIA[how], g, x) is None
    )
    return taken, group_scores(scores, taken, g, CRITERIA[how].pool)


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
def test_marks_are_exact_whole_and_nested(arch: str, how: str) -> None:
    check_each(GRANULARITIES, partial(marks_are_exact_whole_and_nested, arch, how))


def marks_are_exact_whole_and_nested(arch: str, how: str, shape: str) -> None:
    g = GRANULARITIES[shape]
    (layers, groups) = grouped(arch, how, shape)
    before = {x.name: torch.ones(x.shape, dtype=torch.bool) for x in layers}
    for ratio in SPARSITIES:
        masks = masks_at(arch, how, shape, ratio)
        assert masks.keys() == before.keys()
        for x in layers:
            cells = to_groups(masks[x.name], g, x)
            count = groups[x.name].shape[1]
            whole = cells[..., 0]
            assert torch.equal(cells, whole[..., None].expand_as(cells)), "a group is cut in part"
            gone = (
                count - g.n_kept
                if g.n_kept and ratio
                else 0
                if g.n_kept
                else min(round(ratio * count), count - 1)
            )
            assert ((~whole).sum(1) == gone).all(), "the count in a scope is not exact"
            assert not (masks[x.name] & ~before[x.name]).any(), (
                "a weight came back at a higher sparsity"
            )
            kept = groups[x.name].masked_fill(~whole, torch.inf)
            lost = groups[x.name].masked_fill(whole, -torch.inf)
            assert (kept.amin(1) >= lost.amax(1)).all(), (
                "something kept scores lower than something removed"
            )
        before = masks


@pytest.mark.parametrize(("arch", "how"), PAIRS)
def test_allocations_ask_for_rising_counts(arch: str, how: str) -> None:
    """For every granularity that leaves it open: ratios in [0, 1], rising counts, totals within a
    group where reachable.
    """
    check_each(product(ALLOCATIONS, OPEN), partial(counts_rise, arch, how))


def counts_rise(arch: str, how: str, name: str, g: Granularity) -> None:
    layers, groups = grouped(arch, how, g.name)
    sizes = {x.name: groups[x.name].shape[1] for x in layers}
    before = dict.fromkeys(sizes, 0)
    for sparsity in SPARSITIES if how == "magnitude_l1" else (0.33, 0.9):
        ratios = ALLOCATIONS[name](layers, groups, sparsity)
        assert ratios.keys() == sizes.keys()
        assert all(0 <= ratio <= 1 for ratio in ratios.values())
        counts = {key: n_removed(g, ratio, sizes[key]) for key, ratio in ratios.items()}
        assert all(counts[key] >= before[key] for key in counts), (
            "a layer lost less at a higher sparsity"
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
def test_masks_of_every_allocation_are_nested_and_as_asked(arch: str) -> None:
    """The whole way from sparsity to masks, for every granularity that leaves the ratio open."""
    names = [name for name in ALLOCATIONS if name != "uniform"]
    check_each(product(names, OPEN), partial(masks_are_nested_and_as_asked, arch))


def masks_are_nested_and_as_asked(arch: str, name: str, g: Granularity) -> None:
    layers, groups = grouped(arch, "magnitude_l1", g.name)
    before = {x.name: torch.ones(x.shape, dtype=torch.bool) for x in layers}
    for sparsity in (0.33, 0.9):
        ratios = ALLOCATIONS[name](layers, groups, sparsity)
        masks = select(groups, layers, g, ratios)
        got = achieved(masks)
        for x in layers:
            count = groups[x.name].shape[1]
            assert (
                abs(got[x.name] - ratios[x.name])
                <= (0.5 if ratios[x.name] < 1 - 1 / count else 1) / count + 1e-9
            )
            assert not (masks[x.name] & ~before[x.name]).any()
        before = masks


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_scope_is_emptied_only_when_allowed(arch: str) -> None:
    check_each(GRANULARITIES, partial(is_emptied_only_when_allowed, arch))


def is_emptied_only_when_allowed(arch: str, shape: str) -> None:
    g = GRANULARITIES[shape]
    (layers, _) = grouped(arch, "magnitude_l1", shape)
    kept, emptied = (
        masks_at(arch, "magnitude_l1", shape, 1.0, allowed) for allowed in (False, True)
    )
    for x in layers:
        assert to_groups(kept[x.name], g, x).any(-1).any(1).all()
        assert emptied[x.name].any() == (g.n_kept is not None)


@pytest.mark.parametrize(("arch", "how"), PAIRS)
def test_the_same_seed_gives_the_same_masks(arch: str, how: str) -> None:
    layers, scores = scored(arch, how)
    again = scored.__wrapped__(arch, how)[1]
    assert scores.keys() == again.keys()
    assert all(torch.equal(scores[x.name], again[x.name]) for x in layers)
    other = scored(arch, how, seed=1)[1]
    assert all(torch.equal(scores[x.name], other[x.name]) == (how != "random") for x in layers)
    first = masks_at(arch, how, "fine", 0.5)
    assert all(
        torch.equal(mask, masks_at(arch, how, "fine", 0.5)[key]) for key, mask in first.items()
    )


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_network_is_never_changed(arch: str) -> None:
    """Nor are the scores, from which many masks are made."""
    model, layers = network(arch)
    before = state(model)
    for how in CRITERIA if arch in VARIED else ("magnitude_l1", "taylor"):
        scored.__wrapped__(arch, how)
    _, scores = scored(arch, "magnitude_l1")
    held = {name: found.clone() for name, found in scores.items()}
    for shape, g in GRANULARITIES.items():
        taken, groups = grouped(arch, "magnitude_l1", shape)
        kept = {name: found.clone() for name, found in groups.items()}
        for name in ("uniform", *RANKED):
            masks = select(groups, taken, g, ALLOCATIONS[name](taken, groups, 0.5))
        apply_masks(model, masks, layers)
        assert all(torch.equal(groups[name], found) for name, found in kept.items())
    assert all(torch.equal(scores[name], found) for name, found in held.items())
    assert same_state(model, before)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_refusal_is_one_sentence_that_names_its_layer(arch: str) -> None:
    layers = inventory(ARCHITECTURES[arch].build(SHAPE, 10), SHAPE)
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
