"""The space that tests of search methods use, and what every method yields."""

import pytest

from pruning_core.search import (
    SEARCHES,
    TOLERANCE,
    Candidates,
    Judged,
    RatioSpace,
    SearchMethod,
    search_method,
    within,
)
from pruning_core.types import PruningError
from tests.core.search.synthetic import SyntheticSpace, planted

SPACE = SyntheticSpace((0.1, 0.2, 0.3, 0.4), keep=0.5)


def test_synthetic_space_meets_its_budget() -> None:
    assert isinstance(SPACE, RatioSpace)
    fitted = SPACE.fitted({"part0": 0.9, "part1": 0.0, "part2": 0.3, "part3": 0.1})
    assert abs(SPACE.cost(fitted) - 0.5) < TOLERANCE
    assert fitted["part2"] - fitted["part1"] == pytest.approx(0.3)
    with pytest.raises(PruningError, match="keep only 5"):
        SyntheticSpace((0.5, 0.5), keep=0.05).fitted({"part0": 0.0, "part1": 0.0})


@pytest.mark.parametrize("name", SEARCHES)
def test_methods_yield_repeatable_candidates_within_the_budget(name: str) -> None:
    """Equal seeds give equal candidates, numbered from 1, at most as many as asked for."""
    method = search_method(name)
    assert isinstance(method, SearchMethod)
    assert all((method.label, method.help, method.formula, method.source))
    starts = {"uniform": SPACE.fitted(dict.fromkeys(("part0", "part1", "part2", "part3"), 0.5))}
    evaluate = planted(SPACE, (0.9, 0.1, 0.5, 0.6))
    runs = [tuple(method(SPACE, evaluate, 24, 3, starts)) for _ in range(2)]
    assert runs[0] == runs[1]
    assert [candidate.number for candidate in runs[0]] == list(range(1, len(runs[0]) + 1))
    assert 0 < len(runs[0]) <= 24
    best = [candidate for candidate in runs[0] if candidate.best]
    assert best
    assert all(within(SPACE, candidate.cost) for candidate in best)
    scores = [candidate.judged.score for candidate in best]
    assert scores == sorted(scores)


def test_candidates_above_the_budget_are_never_best() -> None:
    candidates = Candidates(SPACE, lambda ratios: Judged(1.0, 1.0, 0.0))
    dense = candidates.measure(dict.fromkeys(("part0", "part1", "part2", "part3"), 0.0), "dense")
    half = candidates.measure(dict.fromkeys(("part0", "part1", "part2", "part3"), 0.5), "half")
    assert [dense.best, half.best] == [False, True]
    assert candidates.best == half
