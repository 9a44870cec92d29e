"""NetAdapt: every step prunes each part alone, until the cost is low enough, and keeps the best."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pruning_core.search.candidates import Candidate, Candidates, Evaluate
from pruning_core.search.method import SearchDefaults
from pruning_core.search.proposals import least_ratio, need_budget, need_evaluations
from pruning_core.search.space import Part, RatioSpace, least_ratios, within
from pruning_core.settings import setting
from pruning_core.types import Ratios


@dataclass(frozen=True, kw_only=True)
class NetAdapt(SearchDefaults):
    """Removes a little of one part in every step: of the part whose loss is the least.

    Step i lowers the cost by D_0 decay^(i-1). For each part alone, the smallest ratio that does so
    is measured; the best one is kept. As many steps as the evaluations allow lead to the budget, so
    D_0 follows from them: the fewer parts can make a step alone, the more steps there are. The
    paper sets D_0 = 0.025 and trains a little before each measurement, this search does not.
    Candidates of all steps but the last cost more than the budget and are never the best one. Where
    the last step cannot meet the budget by one part alone, all ratios are shifted to it. It begins
    at the least ratios, so the starts have no effect.
    """

    label: str = "NetAdapt"
    formula: str = "cost_i = cost_(i-1) - D_0 decay^(i-1); best of: r_l raised to cost_i, alone"
    source: str = "Yang et al. 2018 (NetAdapt), arXiv:1804.03230"
    decay: float = setting(0.96, 0.5, 1.0, "How much less every step removes than the one before.")

    def __call__(
        self,
        space: RatioSpace,
        evaluate: Evaluate,
        evaluations: int,
        seed: int,
        starts: Mapping[str, Ratios],
    ) -> Iterator[Candidate]:
        keep = need_budget(space, self)
        need_evaluations(evaluations, len(space.parts) + 1, self)
        candidates = Candidates(space, evaluate)
        current = least_ratios(space.parts)
        space.fitted(current)
        steps = self._steps(space, current, evaluations)
        for step, target in enumerate(self._targets(space.cost(current), keep, steps), start=1):
            tried = []
            steps_of_parts = list(_steps_of_parts(space, current, target))
            if candidates.count + len(steps_of_parts) >= evaluations:
                break
            for part, ratios in steps_of_parts:
                origin = f"step {step}: {part.name}"
                tried.append(candidates.measure(ratios, origin, target=target))
                yield tried[-1]
            if not tried:
                break
            current = max(tried, key=lambda candidate: candidate.judged.rank).ratios
        if not within(space, space.cost(current)):
            yield candidates.measure(space.fitted(current), "shifted to the budget")

    def _steps(self, space: RatioSpace, ratios: Ratios, evaluations: int) -> int:
        """The most steps, were each of them tried with as many parts as the first one."""
        steps = (evaluations - 1) // len(space.parts)
        cost = space.cost(ratios)
        while True:
            first, *_ = self._targets(cost, space.keep or 0.0, steps + 1)
            parts = sum(1 for _ in _steps_of_parts(space, ratios, first))
            if (steps + 1) * max(1, parts) >= evaluations:
                return steps
            steps += 1

    def _targets(self, cost: float, keep: float, steps: int) -> list[float]:
        """The cost after each step; the last one is the budget."""
        shares = self.decay ** np.arange(steps)
        fallen = np.cumsum(shares) / shares.sum()
        return [float(cost - (cost - keep) * part) for part in fallen]


def _steps_of_parts(
    space: RatioSpace, ratios: Ratios, target: float
) -> Iterator[tuple[Part, Ratios]]:
    """For each part that can meet the target alone, the least ratio that does.

    Where no part can meet it alone, each part gets the highest ratio it can have.
    """
    alone = [(part, least_ratio(space, ratios, part, target)) for part in space.parts]
    met = [(part, ratio) for part, ratio in alone if ratio is not None]
    rest = [(part, part.most) for part in space.parts if ratios[part.name] < part.most]
    for part, ratio in met or rest:
        yield part, ratios | part.ratios(ratio)
