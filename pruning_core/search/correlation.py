"""Does the value without training predict the value after training? The correlation lab.

Candidates of a search, spread over their scores, are fine-tuned for a short time; then the ranks
before and after are compared. EagleEye, Li et al. 2020, arXiv:2007.02491, section 4.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pruning_core.evaluation.accuracy import Judge
from pruning_core.pipeline import final_test_split
from pruning_core.plan import Plan
from pruning_core.repairs import NONE
from pruning_core.search.candidates import Candidate
from pruning_core.search.evaluate import PlanEvaluate
from pruning_core.search.run import SearchSettings, prepared
from pruning_core.training.config import TrainConfig
from pruning_core.training.fine_tune import fine_tune
from pruning_core.types import Evaluation, PruningError, Ratios, Tuned
from pruning_core.workspaces import Workspace

Statistic = Callable[[np.ndarray, np.ndarray], np.ndarray]
LEAST = 4
"""Fewest candidates of which a correlation is computed."""
DRAWS = 2000
"""Resamples of a bootstrap interval."""


@dataclass(frozen=True)
class Trial:
    """One candidate before and after a short fine-tune; values of the task.

    repaired: without training, as the search measured it; masked: the same without repair; tuned:
    after fine-tuning, on the test split, which no search reads.
    """

    number: int
    cost: float
    repaired: float
    masked: float
    tuned: float


@dataclass(frozen=True)
class Correlation:
    """A coefficient in [-1, 1] with its 95% bootstrap interval over n candidates."""

    value: float
    interval: tuple[float, float]
    n: int


def spread(candidates: Sequence[Candidate], count: int) -> tuple[Candidate, ...]:
    """`count` candidates, evenly over the ranks of their scores, each with other ratios.

    Raises PruningError where there are fewer than `LEAST` different ones.
    """
    different = {tuple(sorted(c.ratios.items())): c for c in candidates}
    ranked = sorted(different.values(), key=lambda c: (c.judged.rank, c.number))
    if min(len(ranked), count) < LEAST:
        raise PruningError(
            f"A correlation needs at least {LEAST} different candidates: {len(ranked)} are known "
            f"and {count} are asked for."
        )
    places = np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int)
    return tuple(ranked[place] for place in places)


def trials(
    plan: Plan,
    space: Workspace,
    settings: SearchSettings,
    candidates: Sequence[Candidate],
    config: TrainConfig,
) -> Iterator[Trial]:
    """Yields each candidate after its fine-tune. plan, settings: of the search.

    Raises PruningError as `search`.
    """
    ready = prepared(plan, space, settings)
    masked = prepared(plan, space, replace(settings, repair=NONE))
    for candidate in candidates:
        yield Trial(
            candidate.number,
            candidate.cost,
            candidate.judged.value,
            masked(candidate.ratios).value,
            tuned(ready, candidate.ratios, config).value,
        )


def tuned(ready: PlanEvaluate, ratios: Ratios, config: TrainConfig) -> Evaluation:
    """The network with these ratios after fine-tuning, on the test split.

    Raises PruningError for a fine-tuning without epochs.
    """
    own = ready.space
    resolved = own.resolved
    masks = resolved.masks(own.groups, own.all_ratios(ratios))
    dataset = own.space.dataset
    *_, last = fine_tune(
        resolved.pruned_copy(masks),
        masks,
        resolved.space.layers,
        dataset,
        config,
        dependent=resolved.dependent_masks(masks),
    )
    if not isinstance(last, Tuned):
        raise PruningError("The correlation needs at least one epoch of fine-tuning.")
    return Judge.of(dataset).evaluate(last.model, final_test_split(own.plan, own.space))


def correlations(
    before: Sequence[float], after: Sequence[float], seed: int = 0
) -> dict[str, Correlation]:
    """Pearson, Spearman and Kendall's tau-b of paired values, with percentile intervals.

    The interval is of `DRAWS` resamples of the pairs; resamples in which one side is constant are
    left out. A side that is constant has correlation 0. Raises PruningError for fewer than `LEAST`
    pairs.
    """
    x, y, picks = _resampled((before, after), seed)
    if not (np.ptp(x) and np.ptp(y)):
        return {name: Correlation(0.0, (-1.0, 1.0), len(y)) for name in STATISTICS}
    return {
        name: _with_interval(float(statistic(x, y)), statistic(x[picks], y[picks]), len(y))
        for name, statistic in STATISTICS.items()
    }


def differences(
    one: Sequence[float], other: Sequence[float], after: Sequence[float], seed: int = 0
) -> dict[str, Correlation]:
    """By how much `one` predicts better than `other`: its coefficient less the other's.

    Both are of the same resamples of the candidates, so that the interval may be above 0 where
    the intervals of the two coefficients overlap. Otherwise as `correlations`.
    """
    x, y, z, picks = _resampled((one, other, after), seed)

    def less(statistic: Statistic, at: np.ndarray) -> np.ndarray:
        first, second = (statistic(s[at], z[at]) if np.ptp(s) else np.zeros(()) for s in (x, y))
        return np.asarray(first - second)

    if not np.ptp(z):
        return {name: Correlation(0.0, (-2.0, 2.0), len(z)) for name in STATISTICS}
    return {
        name: _with_interval(
            float(less(statistic, np.arange(len(z)))), less(statistic, picks), len(z)
        )
        for name, statistic in STATISTICS.items()
    }


def _resampled(sides: Sequence[Sequence[float]], seed: int) -> tuple[np.ndarray, ...]:
    """The sides as arrays, then places of resamples in which no side becomes constant."""
    arrays = [np.asarray(side, float) for side in sides]
    count = len(arrays[0])
    if count < LEAST or any(len(array) != count for array in arrays):
        raise PruningError(f"A correlation needs at least {LEAST} pairs of values.")
    picks = np.random.default_rng(seed).integers(count, size=(DRAWS, count))
    for array in arrays:
        if np.ptp(array):
            picks = picks[np.ptp(array[picks], axis=1) > 0]
    return (*arrays, picks)


def _with_interval(value: float, resampled: np.ndarray, n: int) -> Correlation:
    low, high = np.percentile(resampled, (2.5, 97.5))
    return Correlation(value, (float(low), float(high)), n)


def _pearson(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Along the last axis."""
    x = x - x.mean(-1, keepdims=True)
    y = y - y.mean(-1, keepdims=True)
    squares = (x**2).sum(-1) * (y**2).sum(-1)
    return np.asarray((x * y).sum(-1) / np.sqrt(squares))


def _spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    return _pearson(rankdata(x, axis=-1), rankdata(y, axis=-1))


def _kendall(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Tau-b: the ordered pairs that agree less those that do not, ties left out of each side."""
    first = np.sign(x[..., :, None] - x[..., None, :])
    second = np.sign(y[..., :, None] - y[..., None, :])
    pairs = (first**2).sum((-1, -2)) * (second**2).sum((-1, -2))
    return np.asarray((first * second).sum((-1, -2)) / np.sqrt(pairs))


STATISTICS: dict[str, Statistic] = {
    "pearson": _pearson,
    "spearman": _spearman,
    "kendall": _kendall,
}
"""The coefficients, along the last axis of the two sides."""
