"""What the search methods share: random ratios, first candidates, and fitting to the budget."""

from collections.abc import Iterator, Mapping
from itertools import islice

import numpy as np

from pruning_core.search.candidates import Candidate, Candidates
from pruning_core.search.method import SearchMethod
from pruning_core.search.space import Part, RatioSpace, of_parts
from pruning_core.types import PruningError, Ratios

PRECISION = 1e-4
"""Ratios are found to within this, finer than one group of a thousand."""


def even_rates(parts: tuple[Part, ...], draw: np.random.Generator) -> dict[str, float]:
    """By each part's name, a ratio drawn evenly from its range."""
    return {part.name: float(draw.uniform(part.least, part.most)) for part in parts}


def random_ratios(space: RatioSpace, draw: np.random.Generator) -> Ratios:
    """Every part's ratio drawn evenly from its range. They need not meet the budget."""
    return of_parts(space.parts, even_rates(space.parts, draw))


def first_candidates(
    candidates: Candidates, count: int, starts: Mapping[str, Ratios], draw: np.random.Generator
) -> Iterator[Candidate]:
    """The starts, then random ratios on the budget, `count` in all."""
    for name, ratios in islice(starts.items(), count):
        yield candidates.measure(ratios, name)
    while candidates.count < count:
        ratios = random_ratios(candidates.space, draw)
        yield candidates.measure(candidates.space.fitted(ratios), "random")


def moved_ratios(
    space: RatioSpace, ratios: Ratios, draw: np.random.Generator, chance: float, width: float
) -> Ratios:
    """Normal noise on the ratio of each part with some chance, and of at least one part.

    width: the standard deviation, as a part of the ratio's range.
    """
    changes = draw.random(len(space.parts)) < chance
    changes[draw.integers(len(space.parts))] = True
    moved = dict(ratios)
    for part, change in zip(space.parts, changes, strict=True):
        if change:
            deviation = width * (part.most - part.least)
            moved |= part.ratios(part.clipped(draw.normal(ratios[part.name], deviation)))
    return moved


def least_ratio(space: RatioSpace, ratios: Ratios, part: Part, target: float) -> float | None:
    """The least ratio of one part with which the cost is at most the target, the others as given.

    Not below the part's ratio now. None where even the part's largest ratio costs more.
    """
    low = ratios[part.name]
    high = part.most
    if space.cost(ratios | part.ratios(high)) > target:
        return None
    while high - low > PRECISION:
        middle = (low + high) / 2
        if space.cost(ratios | part.ratios(middle)) > target:
            low = middle
        else:
            high = middle
    return high


def need_budget(space: RatioSpace, method: SearchMethod) -> float:
    """The budget. Raises PruningError where there is none."""
    if space.keep is None:
        raise PruningError(f"{method.label} needs a budget: say how much of the cost to keep.")
    return space.keep


def need_evaluations(evaluations: int, least: int, method: SearchMethod) -> None:
    """Raises PruningError where the search has too few evaluations to reach the budget."""
    if evaluations < least:
        raise PruningError(
            f"{method.label} needs at least {least} evaluations for this network, "
            f"not {evaluations}."
        )
