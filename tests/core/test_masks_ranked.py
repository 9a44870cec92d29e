"""Groups ranked once give the masks of a new selection, which are those of a stable sort."""

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
def test_marks_are_those_of_a_stable_sort_and_keep_the_scores(
    shape: tuple[int, int], ties: bool
) -> None:
    values = scores(shape, ties)
    before = values.clone()
    for kind in (values, values.double(), values.bfloat16()):
        for count in range(1, shape[1] + 1):
            first = kind.sort(dim=1, stable=True).indices[:, :count]
            wanted = torch.zeros(shape, dtype=torch.bool).scatter_(1, first, True)
            assert torch.equal(lowest(kind, count), wanted)
    assert torch.equal(values, before)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_ranked_groups_keep_and_count_what_a_new_selection_does(
    shape: tuple[int, int], ties: bool
) -> None:
    values = scores(shape, ties)
    ranked = rank_groups(values, bins=7)
    for count in range(shape[1] + 1):
        kept = ranked.kept(count)
        assert torch.equal(kept, ~lowest(values, count))
        slow = torch.stack(
            [
                ((values >= low) & (values < high) & kept).sum()
                for low, high in zip(ranked.edges, ranked.edges[1:], strict=False)
            ]
        )
        slow[-1] += ((values == values.max()) & kept).sum()
        assert torch.equal(ranked.histogram(count), slow)
        assert int(ranked.histogram(count).sum()) == shape[0] * (shape[1] - count)


def test_equal_scores_make_one_bin() -> None:
    ranked = rank_groups(torch.ones(1, 6), bins=3)
    assert int(ranked.histogram(2).sum()) == 4


def slow_ranking(
    layers: tuple[Layer, ...], groups: dict[str, Tensor], sparsity: float
) -> dict[str, float]:
    """All groups but the best of each scope, in order of score, then layer.

    They are removed as long as that brings the total nearer to the goal.
    """
    goal = round(sparsity * sum(x.numel for x in layers))
    taken = 0
    removed = dict.fromkeys(groups, 0)
    every = []
    for place, x in enumerate(layers):
        rest = [value for scope in groups[x.name].tolist() for value in sorted(scope)[:-1]]
        every += [(value, place, x.numel // groups[x.name].numel()) for value in rest]
    for _, place, size in sorted(every):
        if taken + size > goal and taken + size - goal >= goal - taken:
            break
        taken += size
        removed[layers[place].name] += 1
    return {name: count / groups[name].numel() for name, count in removed.items()}


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
    groups = {name: values.round() if ties else values for name, values in groups.items()}
    for sparsity in (0.0, 0.2, 0.5, 0.7, 0.9, 1.0):
        assert rank_globally(layers, groups, sparsity) == slow_ranking(layers, groups, sparsity)
