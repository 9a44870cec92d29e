"""A sensitivity map and one threshold on it: every part loses as much as the threshold allows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pruning_core.search.candidates import Candidate, Candidates, Evaluate
from pruning_core.search.method import SearchDefaults
from pruning_core.search.proposals import need_budget, need_evaluations
from pruning_core.search.space import RatioSpace, least_ratios, of_parts
from pruning_core.types import Ratios

HALVINGS = 60


@dataclass(frozen=True, kw_only=True)
class SensitivityMap(SearchDefaults):
    """Measures each part alone at several ratios, then searches one threshold on the drop.

    Every part gets the largest ratio whose drop of the score, when it is pruned alone, is at most
    t. The smallest t within the budget is found by halving; it costs no evaluation. Between
    measured ratios the drop is linear, and it never falls as the ratio grows. The last candidate
    has these ratios. The others prune one part, mostly above the budget. The idea of FastNAS in
    NVIDIA's ModelOpt, as its documentation describes it; the starts have no effect.
    """

    label: str = "Sensitivity map and threshold"
    formula: str = "r_l(t) = max {r: drop_l(r) <= t}; the least t with cost(r(t)) <= budget"
    source: str = "after FastNAS of NVIDIA TensorRT Model Optimizer (documentation)"

    def __call__(
        self,
        space: RatioSpace,
        evaluate: Evaluate,
        evaluations: int,
        seed: int,
        starts: Mapping[str, Ratios],
    ) -> Iterator[Candidate]:
        need_budget(space, self)
        need_evaluations(evaluations, len(space.parts) + 2, self)
        candidates = Candidates(space, evaluate)
        least = least_ratios(space.parts)
        space.fitted(least)
        unpruned = candidates.measure(least, "nothing removed")
        yield unpruned
        points = (evaluations - 2) // len(space.parts)
        drops: dict[str, list[float]] = {part.name: [0.0] for part in space.parts}
        for part in space.parts:
            for ratio in np.linspace(part.least, part.most, points + 1)[1:]:
                alone = candidates.measure(least | part.ratios(float(ratio)), f"{part.name} alone")
                drops[part.name].append(unpruned.judged.score - alone.judged.score)
                yield alone
        ratios, threshold = _within_budget(space, drops)
        yield candidates.measure(space.fitted(ratios), "threshold", threshold=threshold)


def _within_budget(space: RatioSpace, drops: Mapping[str, list[float]]) -> tuple[Ratios, float]:
    """The ratios at the least threshold within the budget, and that threshold."""
    rising = {name: np.maximum.accumulate(drop) for name, drop in drops.items()}
    finite = [drop[np.isfinite(drop)].max() for drop in rising.values()]
    low = 0.0
    high = float(max(finite))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if space.cost(_at(space, rising, middle)) > (space.keep or 0.0):
            low = middle
        else:
            high = middle
    return _at(space, rising, high), high


def _at(space: RatioSpace, rising: Mapping[str, np.ndarray], threshold: float) -> Ratios:
    """Each part's largest ratio whose drop is at most the threshold."""
    ratios = {}
    for part in space.parts:
        drop = rising[part.name]
        grid = np.linspace(part.least, part.most, len(drop))
        inside = int(np.searchsorted(drop, threshold, side="right")) - 1
        ratio = float(grid[inside])
        if inside + 1 < len(drop) and np.isfinite(drop[inside + 1]):
            onward = (threshold - drop[inside]) / (drop[inside + 1] - drop[inside])
            ratio += float(onward * (grid[inside + 1] - grid[inside]))
        ratios[part.name] = ratio
    return of_parts(space.parts, ratios)
