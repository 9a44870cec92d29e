"""What is prepared once per layer gives the same marks as selecting anew, and that is what a stable
sort gives.
"""

import pytest
import torch
from torch import Tensor

from pruning_core.allocation import rank_globally
from pruning_core.masks import lowest, rank_groups
from pruning_core.types import Layer
from tests.core.toy import layer

SHAPES = [(1, 40), (5, 8), (30, 4)]


def scores(shape: tuple[int, int], ties: bool = False) -> Tensor:
    rng = torch.Generator().manual_seed(shape[0])
    return (
        torch.randint(0, 5, shape, generator=rng).float()
        if ties
        else torch.randn(shape, generator=rng)
    )


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_marks_are_those_of_a_stable_sort_and_leave_the_scores_alone(
    shape: tuple[int, int], ties: bool
) -> None:
    found = scores(shape, ties)
    before = found.clone()
    for kind in (found, found.double(), found.bfloat16()):
        for count in range(1, shape[1] + 1):
            first = kind.sort(dim=1, stable=True).indices[:, :count]
            wanted = torch.zeros(shape, dtype=torch.bool).scatter_(1, first, True)
            assert torch.equal(lowest(kind, count), wanted)
    assert torch.equal(found, before)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_prepared_layer_keeps_and_counts_what_selecting_anew_would(
    shape: tuple[int, int], ties: bool
) -> None:
    found = scores(shape, ties)
    ready = rank_groups(found, bins=7)
    for count in range(shape[1] + 1):
        kept = ready.kept(count)
        assert torch.equal(kept, ~lowest(found, count))
        slow = torch.stack(
            [
                ((found >= low) & (found < high) & kept).sum()
                for low, high in zip(ready.edges, ready.edges[1:], strict=False)
            ]
        )
        slow[-1] += ((found == found.max()) & kept).sum()
        assert torch.equal(ready.histogram(count), slow)
        assert int(ready.histogram(count).sum()) == shape[0] * (shape[1] - count)


def test_equal_scores_make_one_bin() -> None:
    ready = rank_groups(torch.ones(1, 6), bins=3)
    assert int(ready.histogram(2).sum()) == 4


def slow_ranking(
    layers: tuple[Layer, ...], groups: dict[str, Tensor], sparsity: float
) -> dict[str, float]:
    """Every group but one best of each scope, sorted by score and then by layer; taken while that
    brings the total nearer.
    """
    goal = round(sparsity * sum(x.numel for x in layers))
    taken = 0
    gone = dict.fromkeys(groups, 0)
    every = []
    for place, x in enumerate(layers):
        rest = [value for scope in groups[x.name].tolist() for value in sorted(scope)[:-1]]
        every += [(value, place, x.numel // groups[x.name].numel()) for value in rest]
    for _, place, size in sorted(every):
        if taken + size > goal and taken + size - goal >= goal - taken:
            break
        taken += size
        gone[layers[place].name] += 1
    return {name: count / groups[name].numel() for name, count in gone.items()}


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 1, 4)])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_global_ranking_against_a_slow_loop(seed: int, ties: bool, sizes: tuple[int, ...]) -> None:
    rng = torch.Generator().manual_seed(seed)
    shapes = [(1, 6), (3, 4), (2, 5)]
    layers = tuple(
        layer((s * g, e, 1, 1), name=f"{s}{g}") for (s, g), e in zip(shapes, sizes, strict=True)
    )
    groups = {
        x.name: torch.randn(shape, generator=rng) for x, shape in zip(layers, shapes, strict=True)
    }
    groups = {name: found.round() if ties else found for name, found in groups.items()}
    for sparsity in (0.0, 0.2, 0.5, 0.7, 0.9, 1.0):
        assert rank_globally(layers, groups, sparsity) == slow_ranking(layers, groups, sparsity)
