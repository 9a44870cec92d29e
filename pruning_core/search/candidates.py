"""What a search measures and reports: candidates, each with its ratios, value and costs."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from pruning_core.search.space import RatioSpace, within
from pruning_core.types import Evaluation, PruningError, Ratios, ResourceFailed


@dataclass(frozen=True)
class Judged:
    """What was measured of a pruned network, without training.

    value: of the task. score: higher is better: the value, or minus the value where a lower one is
    better. loss: the mean loss. divergence: the mean KL divergence of the outputs from those of the
    dense network; None where the task has no classes. evaluation: all that was measured; None where
    it was read from a file.
    """

    value: float
    score: float
    loss: float | None = None
    evaluation: Evaluation | None = field(default=None, compare=False)
    divergence: float | None = None

    @property
    def rank(self) -> tuple[float, float]:
        """Higher is better: the score, and among equal scores the lower loss."""
        return self.score, -(self.loss or 0.0)


Evaluate = Callable[[Ratios], Judged]


@runtime_checkable
class Numbered(Protocol):
    """An `Evaluate` of one worker of several, whose candidates have numbers of their own."""

    def number_of(self, count: int) -> int:
        """The number of this worker's candidate, counted from 1."""
        ...


FAILED = Judged(math.nan, -math.inf, math.inf)
MOST_FAILED = 5


@dataclass(frozen=True)
class Candidate:
    """One measured proposal of a search, counted from 1.

    cost: what the budget limits; costs: all known ones. origin: where the ratios come from, such as
    "uniform" or "mutation of 12". best: the best one up to now of those within the budget. extra:
    other numbers of the method, such as a reward or a temperature. failed: why these ratios could
    not be measured; "" for all others. A failed candidate has the score minus infinity.
    """

    number: int
    ratios: Ratios
    judged: Judged
    cost: float
    costs: Mapping[str, float]
    origin: str
    best: bool
    extra: Mapping[str, float] = field(default_factory=dict)
    failed: str = ""


class Candidates:
    """Measures proposals in turn, numbers them and marks the best ones.

    A method makes one of these and yields what `measure` returns.
    """

    def __init__(self, space: RatioSpace, evaluate: Evaluate) -> None:
        self.space = space
        self.count = 0
        self.best: Candidate | None = None
        self._evaluate = evaluate
        self._failed = 0

    def measure(self, ratios: Ratios, origin: str, **extra: float) -> Candidate:
        """The next candidate: these ratios, measured as they are (fit them before).

        A PruningError of its measurement makes it a failed candidate. Raises PruningError where
        the first `MOST_FAILED` candidates failed, because the others would fail too.
        """
        self.count += 1
        costs = self.space.costs(ratios)
        cost = self.space.cost(ratios)
        judged, failed = self._judged(ratios)
        best = (
            not failed
            and within(self.space, cost)
            and (self.best is None or judged.rank > self.best.judged.rank)
        )
        candidate = Candidate(
            self._number,
            ratios,
            judged,
            cost,
            costs,
            origin,
            best,
            extra,
            failed,
        )
        if best:
            self.best = candidate
        return candidate

    @property
    def _number(self) -> int:
        own = self._evaluate
        return own.number_of(self.count) if isinstance(own, Numbered) else self.count

    def _judged(self, ratios: Ratios) -> tuple[Judged, str]:
        """What was measured, and why it could not be measured."""
        try:
            judged = self._evaluate(ratios)
        except ResourceFailed:
            raise
        except PruningError as error:
            self._failed += 1
            if self._failed == self.count == MOST_FAILED:
                raise PruningError(
                    f"None of the first {MOST_FAILED} candidates could be measured: {error}"
                ) from error
            return FAILED, str(error)
        return judged, ""
