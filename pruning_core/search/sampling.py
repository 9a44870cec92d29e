"""Sub-networks drawn at random (EagleEye): ratios are drawn, fitted to the budget and measured."""

import math
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pruning_core.search.candidates import Candidate, Candidates, Evaluate
from pruning_core.search.method import SearchDefaults
from pruning_core.search.proposals import even_rates, random_ratios
from pruning_core.search.space import TOLERANCE, Part, RatioSpace, of_parts, within
from pruning_core.settings import setting
from pruning_core.types import PruningError, Ratios

WEIGHTED = "r_l ~ least + (most - least) (0.8 - 0.6 q_l) + noise, q_l in [0, 1]"
EAGLEEYE = "Li et al. 2020 (EagleEye), arXiv:2007.02491"
DRAWS: int = setting(
    100, 1, 10_000, "How many ratios are drawn for one candidate before the nearest is fitted."
)
NOISE: float = setting(0.15, 0.0, 1.0, "Standard deviation of the noise on every ratio.")
PROBE: float = setting(0.5, 0.05, 0.95, "The ratio at which every part is measured alone.")
HIGHEST = 0.8
LOWEST = 0.2
"""Mean rates of the parts that matter least and most: every part can be drawn small and large."""
Rates = Mapping[str, float]
"""Part -> ratio, or mean place of the ratio in its range, in [0, 1]."""
Rating = Generator[Candidate, None, Rates]


@dataclass(frozen=True, kw_only=True)
class RandomRatios(SearchDefaults):
    """Draws every part's ratio evenly from its range, then shifts all ratios to the budget."""

    label: str = "Random ratios"
    formula: str = "r_l ~ U(least, most); r_l + shift meets the budget"
    source: str = "Bergstra and Bengio 2012, JMLR 13"

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
            ratios = random_ratios(space, draw)
            yield candidates.measure(space.fitted(ratios), "random")


@dataclass(frozen=True, kw_only=True)
class EagleEye(SearchDefaults):
    """Draws every part's ratio evenly from its range, until the ratios meet the budget.

    Where none of `draws` does, the nearest one is shifted to the budget. The published method draws
    until one meets it, prunes the smallest L1 norms, measures batch-norm statistics again and
    scores on held-out training images; here criterion, repair and images are the plan's.
    """

    label: str = "EagleEye"
    formula: str = "r_l ~ U(least, most), rejected unless |cost - budget| <= 0.005"
    source: str = EAGLEEYE
    draws: int = DRAWS

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
        rates = yield from self._rates(candidates, evaluations)
        while candidates.count < evaluations:
            ratios, count = self._drawn(space, rates, draw)
            yield candidates.measure(ratios, "drawn", draws=float(count))

    def _rates(self, candidates: Candidates, evaluations: int) -> Rating:
        """Returns the mean place of every ratio in its range; yields what is measured for it."""
        yield from ()
        return {}

    def _draw(self, parts: tuple[Part, ...], rates: Rates, draw: Any) -> Rates:
        return even_rates(parts, draw)

    def _drawn(self, space: RatioSpace, rates: Rates, draw: Any) -> tuple[Ratios, int]:
        """Ratios that meet the budget, and how many were drawn for them."""
        nearest: Ratios = {}
        distance = math.inf
        for count in range(1, self.draws + 1):
            ratios = of_parts(space.parts, self._draw(space.parts, rates, draw))
            if space.keep is None:
                return ratios, count
            cost = space.cost(ratios)
            if abs(cost - space.keep) <= TOLERANCE and within(space, cost):
                return ratios, count
            if abs(cost - space.keep) < distance:
                nearest = ratios
                distance = abs(cost - space.keep)
        return space.fitted(nearest), self.draws


@dataclass(frozen=True, kw_only=True)
class EagleEyeWeighted(EagleEye):
    """EagleEye whose parts lose more where they matter less; a base of the variants.

    q_l is 0 for the part that matters least, and 1 for the one that matters most.
    """

    formula: str = WEIGHTED
    noise: float = NOISE

    def _draw(self, parts: tuple[Part, ...], rates: Rates, draw: Any) -> Rates:
        return {
            part.name: part.least
            + (part.most - part.least) * rates[part.name]
            + draw.normal(0, self.noise)
            for part in parts
        }


@dataclass(frozen=True, kw_only=True)
class EagleEyeImportance(EagleEyeWeighted):
    """EagleEye with higher ratios where the lower half of the groups holds few of the scores.

    Such a part has many groups that matter little. Nothing is measured for it.
    """

    label: str = "EagleEye, by importance"
    formula: str = f"{WEIGHTED}; q_l from the share of the scores in the lower half of the groups"
    source: str = f"{EAGLEEYE}; rates by importance: this project"

    def _rates(self, candidates: Candidates, evaluations: int) -> Rating:
        shares = {part.name: part.importance for part in candidates.space.features()}
        yield from ()
        return _opposite(shares)


@dataclass(frozen=True, kw_only=True)
class EagleEyeSensitivity(EagleEyeWeighted):
    """EagleEye with higher ratios for parts whose removal alone raises the loss little.

    Every part is measured alone first, which takes one evaluation each.
    """

    label: str = "EagleEye, by sensitivity"
    formula: str = f"{WEIGHTED}; q_l from the loss with part l alone at the probe ratio"
    source: str = f"{EAGLEEYE}; rates by sensitivity: this project"
    probe: float = PROBE

    def _rates(self, candidates: Candidates, evaluations: int) -> Rating:
        parts = candidates.space.parts
        if evaluations <= len(parts):
            raise PruningError(
                f"{self.label} measures each of the {len(parts)} parts alone first: give more than "
                f"{len(parts)} evaluations."
            )
        dense = {name: 0.0 for part in parts for name in part.layers}
        effects = {}
        for part in parts:
            ratios = dense | part.ratios(part.clipped(self.probe))
            candidate = candidates.measure(ratios, f"{part.name} alone")
            if not candidate.failed:
                effects[part.name] = self._effect(candidate)
            yield candidate
        worst = max(effects.values(), default=0.0)
        return self._of_effects({part.name: effects.get(part.name, worst) for part in parts})

    def _effect(self, candidate: Candidate) -> float:
        judged = candidate.judged
        return -judged.score if judged.loss is None else judged.loss

    def _of_effects(self, effects: Mapping[str, float]) -> Rates:
        return _opposite(effects)


@dataclass(frozen=True, kw_only=True)
class EagleEyeDivergence(EagleEyeSensitivity):
    """EagleEye with higher ratios for parts whose removal alone changes the outputs little.

    The change is the KL divergence of the pruned network's class probabilities from those of
    the dense one. Every part is measured alone first, which takes one evaluation each.
    """

    label: str = "EagleEye, by KL divergence"
    formula: str = (
        "r_l ~ least + (most - least) exp(-KL_l / tau) + noise; KL_l = mean over x of sum over c "
        "of p(c|x) log(p(c|x) / p_l(c|x)); tau = mean of KL_l"
    )
    source: str = f"{EAGLEEYE}; Luo and Wu 2020 (CURL), arXiv:1911.08114, for the divergence"

    def _effect(self, candidate: Candidate) -> float:
        divergence = candidate.judged.divergence
        if divergence is None:
            raise PruningError(
                "This task has no class probabilities to compare: use eagleeye_sensitivity."
            )
        return max(0.0, divergence)

    def _of_effects(self, effects: Mapping[str, float]) -> Rates:
        tau = sum(effects.values()) / len(effects) or 1.0
        return {name: math.exp(-effect / tau) for name, effect in effects.items()}


def _opposite(values: Mapping[str, float]) -> Rates:
    """`HIGHEST` for the smallest value, `LOWEST` for the largest, else in proportion."""
    low = min(values.values())
    spread = max(values.values()) - low or 1.0
    return {
        name: HIGHEST - (HIGHEST - LOWEST) * (value - low) / spread
        for name, value in values.items()
    }
