"""Which method of a study is better than the others by more than chance, paired over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

from pruning_core.studies.run import Result
from pruning_core.tasks import Task

Method = tuple[str, str]
"""Criterion and granularity."""


@dataclass(frozen=True)
class Lead:
    """How far the best method is ahead of another one.

    gain: mean over seeds of the difference of the values, positive where the best is better.
    interval: of the gain; its level is 95% for all comparisons of the study together.
    """

    other: Method
    gain: float
    interval: tuple[float, float]

    @property
    def certain(self) -> bool:
        """Is the best better by more than chance?"""
        return self.interval[0] > 0


@dataclass(frozen=True)
class Best:
    """The method with the best mean value, and its lead over each other method.

    seeds: of the pairs; compressions: those over which values are averaged.
    """

    method: Method
    leads: tuple[Lead, ...]
    seeds: int
    compressions: tuple[float, ...]


def best_method(results: Sequence[Result], state: str = "after") -> Best | None:
    """The method with the highest mean over the runs that all methods have, with its leads.

    Only compressions and seeds that every method has count. A method's value of a seed is the mean
    over these compressions; values of the same seed are paired. Interval of a lead over n seeds:
    d -+ t(1 - 0.05 / 2k, n - 1) s / sqrt(n), k = number of other methods (Student's t, Bonferroni's
    correction). None for fewer than two methods or two seeds in common. state: "before" or "after"
    fine-tuning.
    """
    values = {
        (_method(result), result.run.compression, result.run.seed): _value(result, state)
        for result in results
    }
    methods = list(dict.fromkeys(_method(result) for result in results))
    runs = {method: {run[1:] for run in values if run[0] == method} for method in methods}
    common = set.intersection(*runs.values()) if runs else set()
    seeds = sorted({seed for _, seed in common})
    compressions = [
        c for c in sorted({c for c, _ in common}) if all((c, s) in common for s in seeds)
    ]
    if len(methods) < 2 or len(seeds) < 2 or not compressions:
        return None
    means = {
        method: [fmean(values[method, c, seed] for c in compressions) for seed in seeds]
        for method in methods
    }
    best = max(methods, key=lambda method: fmean(means[method]))
    others = sorted((m for m in methods if m != best), key=lambda m: -fmean(means[m]))
    leads = tuple(_lead(other, means[best], means[other], len(others)) for other in others)
    return Best(best, leads, len(seeds), tuple(compressions))


def _lead(other: Method, best: Sequence[float], values: Sequence[float], count: int) -> Lead:
    from scipy.stats import t as student  # takes 1 s to import, so not before it is needed

    gains = [one - two for one, two in zip(best, values, strict=True)]
    quantile = float(student.ppf(1 - 0.025 / count, len(gains) - 1))
    half = quantile * stdev(gains) / sqrt(len(gains))
    gain = fmean(gains)
    return Lead(other, gain, (gain - half, gain + half))


def _method(result: Result) -> Method:
    return result.run.criterion, result.run.granularity


def _value(result: Result, state: str) -> float:
    """The value, with a sign so that higher is better."""
    measured = result.final if state == "after" else result.before
    task: Task = measured.task
    return task.sign * measured.value
