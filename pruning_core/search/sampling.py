"""Sub-networks drawn at random: ratios are drawn, fitted to the budget and measured."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pruning_core.search.candidates import Candidate, Candidates, Evaluate
from pruning_core.search.method import SearchDefaults
from pruning_core.search.space import RatioSpace, of_parts
from pruning_core.types import Ratios


@dataclass(frozen=True, kw_only=True)
class RandomRatios(SearchDefaults):
    """Draws every part's ratio evenly from its range, then shifts all ratios to the budget."""

    label: str = "Random ratios"
    formula: str = "r_l ~ U(least_l, most_l); r_l + shift meets the budget"
    source: str = "Li et al. 2020 (EagleEye), arXiv:2007.02491"

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
        for _ in range(evaluations):
            ratios = {part.name: draw.uniform(part.least, part.most) for part in space.parts}
            yield candidates.measure(space.fitted(of_parts(space.parts, ratios)), "random")
