"""Times calls against one reference call, in interleaved pairs: ratios, with intervals."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from statistics import median, quantiles
from typing import Any

from pruning_core.compress.machine import Machine
from pruning_core.errors import PruningError

Call = Callable[[], object]
Clock = Callable[[], float]
ROUNDS = 31
"""Pairs that are measured, where the time budget allows them."""
FEWEST = 7
"""Pairs that are always measured; with 6 and more the 95% interval is finite."""
BUDGET = 10.0
"""Seconds of one comparison."""
SHORTEST = 4e-3
"""A sample repeats its call until the reference takes about this time, in seconds."""
WARM_UP = 3
AGREEMENT = 0.05
"""Halves of one measurement that differ by more than this fraction show a busy machine."""
SAME = 0.02
"""Speed-ups within 1 -+ this fraction are the noise of a measurement."""


@dataclass(frozen=True)
class Variant:
    """One way to compute the same thing. call: does it once, to the end."""

    name: str
    label: str
    call: Call


@dataclass(frozen=True)
class Round:
    """One pair of every variant is measured. done: pairs so far, of total."""

    done: int
    total: int


@dataclass(frozen=True)
class Timing:
    """Times of one variant, and its speed-up against the reference.

    seconds, quartiles, reference: of one call; medians. speedup: median of reference / variant over
    the pairs: above 1 the variant is faster. interval: 95%, by signs of the pairs. halves: by how
    much the first and the second half of the pairs differ, as a fraction. n: pairs; calls: of each
    sample. The reference itself has the speed-up 1; its `halves` compares times.
    """

    variant: str
    label: str
    seconds: float
    quartiles: tuple[float, float]
    reference: float
    speedup: float
    interval: tuple[float, float]
    halves: float
    n: int
    calls: int

    @property
    def verdict(self) -> str:
        """faster | slower | same: the whole interval is above, below or near 1."""
        low, high = self.interval
        if low > 1 + SAME:
            return "faster"
        return "slower" if high < 1 - SAME else "same"

    @property
    def disagrees(self) -> bool:
        """Do the two halves of the measurement differ too much to be trusted?"""
        return self.halves > AGREEMENT

    @property
    def doubt(self) -> str:
        """Why the measurement cannot be trusted, in a sentence; "" where it can."""
        if not self.disagrees:
            return ""
        return (
            f"Too busy to tell: two halves of one measurement differ by {self.halves:.0%}. "
            "Measure again on a quiet machine."
        )


@dataclass(frozen=True)
class Compared:
    """The last event: the reference first, then every variant in the given order."""

    timings: tuple[Timing, ...]


def time_pairs(
    reference: Variant,
    variants: Sequence[Variant],
    *,
    rounds: int = ROUNDS,
    budget: float = BUDGET,
    clock: Clock = time.perf_counter,
) -> Iterator[Round | Compared]:
    """Measures every variant right after the reference, again in every round.

    So a slow moment of the machine affects both numbers of a pair, and their ratio less. Calls are
    warmed up first. A sample repeats a short call; the number of rounds is smaller where a round
    takes long. rounds: the most; budget: seconds, exceeded only for the fewest rounds.
    Raises PruningError for fewer than 7 rounds.

    >>> ticks = iter(range(10_000))
    >>> calls = [Variant(name, name, lambda: None) for name in ("dense", "thin")]
    >>> *_, compared = time_pairs(calls[0], calls[1:], clock=lambda: float(next(ticks)))
    >>> compared.timings[1].speedup, compared.timings[1].verdict
    (1.0, 'same')
    """
    if rounds < FEWEST:
        raise PruningError(f"{rounds} pairs are too few for an interval: measure at least 7.")
    once = [_warmed_up(variant, clock) for variant in (reference, *variants)]
    calls = max(1, math.ceil(SHORTEST / once[0])) if once[0] > 0 else 1
    seconds = calls * (sum(once) + once[0] * (len(variants) - 1))
    total = max(FEWEST, min(rounds, int(budget / seconds) if seconds > 0 else rounds))
    pairs: list[list[tuple[float, float]]] = [[] for _ in variants]
    for done in range(1, total + 1):
        for measured, variant in zip(pairs, variants, strict=True):
            first = _sample(reference, calls, clock)
            measured.append((first, _sample(variant, calls, clock)))
        yield Round(done, total)
    alone = [first for first, _ in chain.from_iterable(zip(*pairs, strict=True))]
    dense = _timing(reference, [(first, first) for first in alone], calls)
    timed = [_timing(v, own, calls) for v, own in zip(variants, pairs, strict=True)]
    yield Compared((replace(dense, halves=_halves(alone)), *timed))


def compare(reference: Variant, variants: Sequence[Variant], **options: Any) -> Compared:
    """The last event of `time_pairs`.

    Raises PruningError where the measurement ends without a result.
    """
    *_, last = time_pairs(reference, variants, **options)
    if not isinstance(last, Compared):
        raise PruningError("The measurement ended without a result.")
    return last


def _warmed_up(variant: Variant, clock: Clock) -> float:
    """Seconds of the fastest of some first calls."""
    times = [clock()]
    for _ in range(WARM_UP):
        variant.call()
        times.append(clock())
    return min(after - before for before, after in pairwise(times))


def _sample(variant: Variant, calls: int, clock: Clock) -> float:
    """Seconds of one call, averaged over a sample."""
    start = clock()
    for _ in range(calls):
        variant.call()
    return (clock() - start) / calls


def _timing(variant: Variant, pairs: Sequence[tuple[float, float]], calls: int) -> Timing:
    own = [second for _, second in pairs]
    ratios = [first / second if second else math.inf for first, second in pairs]
    return Timing(
        variant.name,
        variant.label,
        median(own),
        _quartiles(own),
        median(first for first, _ in pairs),
        median(ratios),
        median_interval(ratios),
        _halves(ratios),
        len(pairs),
        calls,
    )


def _quartiles(values: Sequence[float]) -> tuple[float, float]:
    low, _, high = quantiles(values, n=4, method="inclusive")
    return low, high


def _halves(values: Sequence[float]) -> float:
    """How much the medians of the first and the second half differ, as a fraction of the larger."""
    middle = len(values) // 2
    low, high = sorted((median(values[:middle]), median(values[-middle:])))
    return 1 - low / high if high else 0.0


def busy_words(machine: Machine, timings: Sequence[Timing]) -> str | None:
    """Why the machine was too busy to decide; else None. machine: before the timings."""
    if machine.overloaded:
        return (
            f"Too busy to tell: {machine.load:.1f} processes wanted to compute on "
            f"{machine.cores} cores. Measure again on a quiet machine."
        )
    worst = max(timings, key=lambda timing: timing.halves, default=None)
    return (worst.doubt or None) if worst else None


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """95% interval of the median, by the sign test: two of the sorted values.

    Each value is above the median with probability 1/2, so the number below it is binomial. No
    other assumption is made about the values. Conover 1999, Practical Nonparametric Statistics.

    >>> median_interval([5.0, 1.0, 2.0, 3.0, 4.0, 6.0, 7.0])
    (1.0, 7.0)
    """
    n = len(values)
    ordered = sorted(values)
    below = 0
    tail = 2 * 0.5**n
    while below + 1 <= n // 2 and tail + 2 * math.comb(n, below + 1) * 0.5**n <= 0.05:
        below += 1
        tail += 2 * math.comb(n, below) * 0.5**n
    return ordered[below], ordered[-1 - below]
