"""Attention with one packed projection of several sources: which weights read which channels."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from pruning_core.masks import apply_masks
from pruning_core.model.coupling.dependent_masks import dead_inputs, dependent_masks
from pruning_core.model.coupling.trace import couplings
from pruning_core.model.inventory import inventory
from tests.core.toy import same_state, state

X = torch.rand(2, 6, 5, generator=torch.Generator().manual_seed(0))
PACKED = "attend.in_proj_weight"


class Attending(nn.Module):
    """Two layers give the sources: one the query, the other key and value."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.a = nn.Linear(5, size)
        self.b = nn.Linear(5, size)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def sources(self, a: Tensor, b: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return a, b

    def forward(self, x: Tensor) -> Tensor:
        query, key = self.sources(self.a(x), self.b(x), x)
        return self.head(self.attend(query, key, key)[0].mean(1))


class Crossed(Attending):
    """Query and key hold the same channels in another order, so that one column is two channels."""

    def sources(self, a: Tensor, b: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([a, b], -1), torch.cat([b, a], -1)


class Remembering(Attending):
    """Key and value are read from the input, which no layer computes and no mask can zero."""

    def sources(self, a: Tensor, b: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([a, b], -1), torch.cat([x, x], -1)[..., :8]


Read = tuple[tuple[slice, list[int]], ...]
CASES: dict[str, tuple[type[Attending], int, Read]] = {
    "two": (Attending, 8, ((slice(0, 8), [0, 2]),)),
    "crossed": (Crossed, 4, ((slice(0, 8), [0, 2]), (slice(8, 24), [4, 6]))),
    "remembering": (Remembering, 4, ((slice(0, 8), [0, 2]),)),
}
"""Network, rows of its sources, and the rows and columns that read channels 0 and 2 of `a`."""


@pytest.mark.parametrize("name", CASES)
def test_only_the_projection_that_reads_a_removed_channel_loses_its_column(name: str) -> None:
    build, size, wanted = CASES[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build(size).eval()
    layers = inventory(model, X)
    before = state(model)
    known = couplings(model, layers, X)
    masks = {"a.weight": torch.ones(size, 5, 1, 1, dtype=torch.bool)}
    masks["a.weight"][[0, 2]] = False
    dead = dead_inputs(model, layers, masks, known)
    by_hand = torch.ones(24, 8, dtype=torch.bool)
    for rows, columns in wanted:
        by_hand[rows, columns] = False
    assert dead.keys() == {PACKED}
    assert torch.equal(dead[PACKED], by_hand)
    cut = apply_masks(model, masks, layers, dependent_masks(model, layers, masks, known))
    other = deepcopy(cut)
    with torch.no_grad():
        other.get_parameter(PACKED)[~dead[PACKED]] = 7.0  # these weights have no effect
        assert torch.equal(other(X), cut(X))
        other.get_parameter(PACKED)[dead[PACKED]] += 0.1
        assert not torch.allclose(other(X), cut(X))
    assert same_state(model, before)
