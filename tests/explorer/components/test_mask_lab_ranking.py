"""Places of a few groups and levels of many, against ranking them all."""

import numpy as np
import pytest
import torch

from explorer.components.mask_lab import ranking as order
from explorer.components.mask_lab.ranking import levels, levels_among, places
from pruning_core.masks import ranks


def tied(scopes: int, groups: int, values: int) -> torch.Tensor:
    """Scores of few values, both signs of zero and what an earlier round removed among them."""
    rng = torch.Generator().manual_seed(values)
    scores = torch.randint(-values, values + 1, (scopes, groups), generator=rng) / values
    scores[:, ::7] *= -0.0
    scores[:, ::11] = -torch.inf
    return scores


@pytest.fixture
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs so short that a small scope is many of them."""
    monkeypatch.setattr(order, "RUN", 64)


@pytest.mark.usefixtures("short_runs")
@pytest.mark.parametrize("values", [1, 3, 1_000_000])
@pytest.mark.parametrize(("scopes", "groups"), [(1, 1000), (3, 500), (200, 4), (40, 33)])
def test_places_are_the_ranks(scopes: int, groups: int, values: int) -> None:
    scores = tied(scopes, groups, values)
    some = np.random.default_rng(values).permutation(scopes * groups)[: scopes * groups // 2]
    exact = ranks(scores).flatten().numpy()
    assert (places(scores, some) == exact[some]).all()
    assert (places(scores, np.arange(scopes * groups)) == exact).all()
    assert (places(scores.double(), some) == exact[some]).all()


def test_places_of_a_scope_of_several_runs() -> None:
    scores = torch.randn(1, 2 * order.RUN + 5, generator=torch.Generator().manual_seed(0))
    some = np.array([0, order.RUN - 1, order.RUN, 2 * order.RUN + 4])
    assert (places(scores, some) == ranks(scores).flatten().numpy()[some]).all()


@pytest.mark.parametrize("values", [1, 1_000_000])
@pytest.mark.parametrize(("scopes", "groups"), [(3, 1000), (500, 4), (100, 8)])
def test_levels_are_quantiles_of_the_ranks(scopes: int, groups: int, values: int) -> None:
    scores = tied(scopes, groups, values)
    assert (levels(scores) == (ranks(scores).long() * 256 // groups).flatten().numpy()).all()


@pytest.mark.usefixtures("short_runs")
def test_levels_of_many_large_scopes_are_exact_where_nothing_is_equal() -> None:
    scores = torch.stack(
        [torch.randperm(300, generator=torch.Generator().manual_seed(seed)) for seed in range(5)]
    ).float()
    assert (levels(scores) == (ranks(scores).long() * 256 // 300).flatten().numpy()).all()


@pytest.mark.usefixtures("short_runs")
@pytest.mark.parametrize(("edges", "counted"), [(50, 1 << 24), (1 << 16, 1 << 24), (1 << 16, 5000)])
def test_levels_of_some_are_near_the_exact_ones(
    edges: int, counted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "EDGES", edges)
    monkeypatch.setattr(order, "COUNTED", counted)
    scores = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    exact = (ranks(scores.view(1, -1))[0].long() * 256 // 20_000).numpy()
    some = np.arange(0, 20_000, 10).reshape(1, 100, 20)
    found = levels_among(scores.numpy(), scores.numpy()[some]).astype(int)
    assert np.abs(found - exact[some]).max() <= (1 if edges > 50 and counted > 5000 else 8)


def test_where_all_are_equal_the_first_go_first() -> None:
    same = np.zeros(20_000, np.float32)
    found = levels_among(same, same[:200].reshape(1, 10, 20))[0].astype(int)
    assert (found == (256 * (np.arange(10) + 0.5) / 10).astype(int)[:, None]).all()
