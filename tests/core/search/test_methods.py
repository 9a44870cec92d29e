"""What holds for every search method: the budget, failed candidates, a planted optimum."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from benchmarks.search_planted import CLOSED, closed_gap, problem
from pruning_core.search import SEARCHES, Candidate, Judged, SearchMethod, within
from pruning_core.search.amc import Amc
from pruning_core.search.ddpg import Agent
from pruning_core.search.record_log import StorageFailed
from pruning_core.types import PruningError, Ratios
from tests.core.search.synthetic import SyntheticSpace, planted

ON_THE_WAY = ("netadapt", "sensitivity_map", "eagleeye_sensitivity", "eagleeye_kl")
"""Searches that also measure what still costs more than the budget."""


def method_of(name: str) -> SearchMethod:
    """The method, with a small agent."""
    method = SEARCHES[name]
    return replace(method, hidden=4, batch=2) if isinstance(method, Amc) else method


def spaces() -> Iterator[SyntheticSpace]:
    draw = np.random.default_rng(5)
    for parts, keep, most in ((1, 0.5, 0.9), (3, 0.11, 0.9), (5, 0.97, 0.95), (4, 0.4, 1.0)):
        shares = draw.dirichlet(np.ones(parts))
        yield SyntheticSpace(tuple(float(share) for share in shares), keep, most)


def run(name: str, space: SyntheticSpace, evaluations: int = 12) -> list[Candidate]:
    parts = len(space.parts)
    starts = {"uniform": space.fitted({part.name: 0.5 for part in space.parts})}
    evaluate = planted(space, [0.3] * parts)
    return list(method_of(name)(space, evaluate, evaluations, 7, starts))


@pytest.mark.parametrize("name", SEARCHES)
def test_every_candidate_respects_the_budget(name: str) -> None:
    for space in spaces():
        candidates = run(name, space)
        assert len(candidates) <= 12
        inside = [candidate for candidate in candidates if within(space, candidate.cost)]
        assert inside, f"{name} never met {space}"
        if name not in ON_THE_WAY:
            assert inside == candidates, f"{name} left {space}"
        for candidate in candidates:
            assert all(p.least <= candidate.ratios[p.name] <= p.most for p in space.parts)


@pytest.mark.parametrize("name", SEARCHES)
def test_a_refused_candidate_does_not_end_a_search(name: str) -> None:
    """Every fourth candidate cannot be measured; a storage that fails is no such fault."""
    space = SyntheticSpace((0.3, 0.7))
    number = count()
    good = planted(space, (0.4, 0.55))

    def sometimes(ratios: Ratios) -> Judged:
        if next(number) % 4 == 3:
            raise PruningError("Not these ratios.")
        return good(ratios)

    candidates = list(method_of(name)(space, sometimes, 20, 1, {}))
    failed = [candidate for candidate in candidates if candidate.failed]
    assert {candidate.failed for candidate in failed} == {"Not these ratios."}
    assert [candidate.number % 4 for candidate in failed] == [0] * (len(candidates) // 4)
    assert not any(candidate.best for candidate in failed)
    assert any(candidate.best for candidate in candidates)

    def never(ratios: Ratios) -> Judged:
        raise PruningError("Nothing works.")

    with pytest.raises(PruningError, match=r"first 5 candidates .*: Nothing works\.$"):
        list(method_of(name)(space, never, 20, 1, {}))

    def lost(ratios: Ratios) -> Judged:
        raise StorageFailed("The disk is full.")

    with pytest.raises(StorageFailed):
        list(method_of(name)(space, lost, 20, 1, {}))


@pytest.mark.parametrize("name", SEARCHES)
def test_a_budget_that_cannot_be_met_is_one_sentence(name: str) -> None:
    space = SyntheticSpace((0.5, 0.5), keep=0.01)
    with pytest.raises(PruningError, match=r"^No ratios keep only 1\.0% of the cost\.$"):
        list(method_of(name)(space, planted(space, (0.9, 0.9)), 20, 0, {}))


def test_searches_that_need_more_say_so() -> None:
    space = SyntheticSpace((0.2,) * 5)
    evaluate = planted(space, (0.5,) * 5)
    for name in ON_THE_WAY:
        with pytest.raises(PruningError, match=r"at least \d|more than 5"):
            list(SEARCHES[name](space, evaluate, 4, 0, {}))
    for name in ("netadapt", "sensitivity_map", "amc"):
        with pytest.raises(PruningError, match="needs a budget"):
            list(method_of(name)(replace(space, keep=None), evaluate, 20, 0, {}))


def test_searches_find_an_optimum_that_random_ratios_do_not() -> None:
    """Of 20 problems and all searches: benchmarks/search_planted.py, docs/results.md."""
    pytest.importorskip("optuna")
    searches = (
        ("sum", 80, ("evolution", "annealing", "tpe")),
        ("sum", 200, ("netadapt",)),
        ("sum", 400, ("nsga2",)),
        ("worst", 80, ("sensitivity_map",)),
    )
    for landscape, evaluations, names in searches:
        assert closed_gap("random", landscape, evaluations, 3) < CLOSED
        gaps = {name: closed_gap(name, landscape, evaluations, 3) for name in names}
        assert min(gaps.values()) >= CLOSED, gaps


def test_the_agent_of_amc_beats_its_own_random_episodes() -> None:
    space, evaluate = problem("sum", 3, parts=4)
    method = replace(SEARCHES["amc"], hidden=16, batch=16)
    candidates = list(method(space, evaluate, 60, 0, {}))
    scores = [c.judged.score for c in candidates]
    assert np.mean(scores[-15:]) > np.mean(scores[:15]) + 0.1
    assert min(scores) < 0 < max(scores)
    ranked = sorted(candidates, key=lambda c: c.judged.score)
    rewards = [c.extra["reward"] for c in ranked]
    assert rewards == sorted(rewards), "A better score has the higher reward, also below 0."


def test_an_agent_leaves_the_random_state_as_it_was() -> None:
    import torch

    before = torch.get_rng_state()
    first, second = (Agent(3, 4, 2, 10, seed=5).action((0.0, 0.5, 1.0)) for _ in range(2))
    assert first == second
    assert torch.equal(before, torch.get_rng_state())
