"""Simulated annealing of ratios: small moves, of which bad ones are accepted less and less."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pruning_core.search.candidates import Candidate, Candidates, Evaluate
from pruning_core.search.method import SearchDefaults
from pruning_core.search.proposals import first_candidates, moved_ratios
from pruning_core.search.space import RatioSpace
from pruning_core.settings import setting
from pruning_core.types import Ratios


@dataclass(frozen=True, kw_only=True)
class Annealing(SearchDefaults):
    """Moves the ratios of a few parts at a time, and accepts a worse value less and less often.

    It begins at the best of the first candidates: the starts, or as many random ones. A move adds
    normal noise to the ratios of some parts and is shifted to the budget, so other parts give what
    these take. A worse move is accepted with probability exp((score' - score) / T). T falls by one
    factor per move, from a part of the standard deviation of the first scores; the moves become
    smaller with the square root of T.
    """

    label: str = "Simulated annealing"
    formula: str = "accept with min(1, exp((score' - score) / T)); T_k = T_0 c^(k/K)"
    source: str = (
        "Kirkpatrick et al. 1983; of ratios: Liu et al. 2020 (AutoCompress), arXiv:1907.03141"
    )
    first: int = setting(10, 2, 1000, "At least so many candidates before the first move.")
    heat: float = setting(
        0.5, 0.0, 10.0, "First temperature, in standard deviations of the first scores."
    )
    cooling: float = setting(0.001, 1e-9, 1.0, "Last temperature, as a part of the first one.")
    step: float = setting(0.3, 0.001, 1.0, "First size of a move, as a part of a ratio's range.")
    moved: float = setting(0.3, 0.0, 1.0, "The part of all ratios that a move changes.")

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
        first = min(max(len(starts), self.first), evaluations)
        begun = []
        for candidate in first_candidates(candidates, first, starts, draw):
            begun.append(candidate)
            yield candidate
        current = max(begun, key=lambda candidate: candidate.judged.rank)
        scores = [c.judged.score for c in begun if math.isfinite(c.judged.score)]
        hottest = self.heat * float(np.std(scores)) if scores else 0.0
        moves = evaluations - first
        for k in range(moves):
            fallen = self.cooling ** (k / max(1, moves - 1))
            width = self.step * math.sqrt(fallen)
            ratios = moved_ratios(space, current.ratios, draw, self.moved, width)
            candidate = candidates.measure(
                space.fitted(ratios), f"move from {current.number}", temperature=hottest * fallen
            )
            if _accepted(candidate, current, hottest * fallen, draw):
                current = candidate
            yield candidate


def _accepted(
    candidate: Candidate, current: Candidate, temperature: float, draw: np.random.Generator
) -> bool:
    worse = current.judged.score - candidate.judged.score
    chance = draw.random()
    if candidate.judged.rank >= current.judged.rank:
        return True
    return temperature > 0 and chance < math.exp(-worse / temperature)
