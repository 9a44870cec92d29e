"""Evolution of ratios: the best ones are parents, mixed and mutated, and fitted to the budget."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pruning_core.search.candidates import Candidate, Candidates, Evaluate
from pruning_core.search.method import SearchDefaults
from pruning_core.search.proposals import first_candidates, moved_ratios
from pruning_core.search.space import RatioSpace
from pruning_core.search.study import news
from pruning_core.settings import setting
from pruning_core.types import Ratios

Parent = tuple[tuple[float, float], Ratios, str]
"""Rank, ratios, and what it is called in the origin of its children."""


@dataclass(frozen=True, kw_only=True)
class Evolution(SearchDefaults):
    """Mutates and mixes the best ratios found up to now, generation by generation.

    The first generation: the starts, then random ratios. Each later one: mutants of the parents,
    then children of two parents, which take every part's ratio from one of them with equal chance;
    every proposal is shifted to the budget. A mutation draws the ratio of a part anew with
    probability p, here from a normal distribution around the parent's ratio, where the paper draws
    it evenly from its range: the ratios of MetaPruning are steps of 0.03, these are not.
    A search of few evaluations has smaller generations, so that there are at least ten of them, and
    as many fewer parents. What other workers find joins the parents.
    """

    label: str = "Evolution"
    formula: str = (
        "mutant: r_l + N(0, step (most_l - least_l)) with probability p; child: r_l of a or b"
    )
    source: str = "Liu et al. 2019 (MetaPruning), arXiv:1903.10258"
    population: int = setting(50, 2, 1000, "Candidates of each generation.")
    parents: int = setting(10, 1, 500, "The best candidates of all generations have children.")
    mutation: float = setting(0.1, 0.0, 1.0, "How often a mutation changes the ratio of a part.")
    step: float = setting(
        0.2, 0.001, 1.0, "Standard deviation of a mutation, as a part of the ratio's range."
    )

    def __call__(
        self,
        space: RatioSpace,
        evaluate: Evaluate,
        evaluations: int,
        seed: int,
        starts: Mapping[str, Ratios],
    ) -> Iterator[Candidate]:
        draw = np.random.default_rng(seed)
        candidates = Candidates(space, evaluate)
        pool: list[Parent] = []
        first = min(self.population, max(4, evaluations // 10))
        parents = max(2, round(self.parents * first / self.population))
        for candidate in first_candidates(candidates, min(first, evaluations), starts, draw):
            pool.append((candidate.judged.rank, candidate.ratios, str(candidate.number)))
            yield candidate
        while candidates.count < evaluations:
            pool += [(judged.rank, ratios, "another worker") for ratios, judged in news(evaluate)]
            pool = sorted(pool, key=lambda parent: parent[0], reverse=True)[:parents]
            size = min(first, evaluations - candidates.count)
            children = [self._child(pool, space, draw, n < size / 2) for n in range(size)]
            for ratios, origin in children:
                candidate = candidates.measure(space.fitted(ratios), origin)
                pool.append((candidate.judged.rank, candidate.ratios, str(candidate.number)))
                yield candidate

    def _child(
        self, pool: list[Parent], space: RatioSpace, draw: np.random.Generator, mutant: bool
    ) -> tuple[Ratios, str]:
        """Ratios of a mutant, or of a child of two parents, and where they come from."""
        chosen = [pool[k] for k in draw.choice(len(pool), size=2, replace=len(pool) < 2)]
        (_, one, first), (_, two, second) = chosen
        if mutant:
            return moved_ratios(space, one, draw, self.mutation, self.step), f"mutation of {first}"
        mixed: Ratios = {}
        for part in space.parts:
            parent = one if draw.random() < 0.5 else two
            mixed |= part.ratios(parent[part.name])
        return mixed, f"child of {first} and {second}"
