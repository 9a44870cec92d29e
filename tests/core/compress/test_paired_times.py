"""Interleaved pairs with a clock that the calls move: exact ratios, intervals and verdicts."""

from collections.abc import Callable, Iterable
from itertools import cycle

import pytest

from pruning_core.compress.paired_times import (
    Compared,
    Round,
    Variant,
    compare,
    median_interval,
    time_pairs,
)
from pruning_core.types import PruningError


class Clock:
    """Time that passes only when something is called."""

    def __init__(self) -> None:
        self.now = 0.0
        self.called: list[str] = []

    def __call__(self) -> float:
        return self.now

    def variant(self, name: str, seconds: Iterable[float]) -> Variant:
        times = cycle(seconds)

        def call() -> None:
            self.called.append(name)
            self.now += next(times)

        return Variant(name, name, call)


@pytest.mark.parametrize(
    ("seconds", "speedup", "verdict"),
    [([0.5], 2.0, "faster"), ([2.0], 0.5, "slower"), ([1.01], 1 / 1.01, "same")],
)
def test_speedup_and_verdict(seconds: list[float], speedup: float, verdict: str) -> None:
    clock = Clock()
    calls = clock.variant("dense", [1.0]), clock.variant("thin", seconds)
    dense, timing = compare(calls[0], calls[1:], clock=clock, budget=1000.0).timings
    assert timing.speedup == pytest.approx(speedup)
    assert timing.interval == pytest.approx((speedup, speedup))
    assert timing.verdict == verdict
    assert (timing.seconds, timing.reference) == pytest.approx((seconds[0], 1.0))
    assert (dense.speedup, dense.verdict, timing.n, timing.calls) == (1.0, "same", 31, 1)


def test_every_variant_is_measured_right_after_the_reference() -> None:
    clock = Clock()
    dense, a, b = (clock.variant(name, [1.0]) for name in ("dense", "a", "b"))
    events = list(time_pairs(dense, [a, b], rounds=7, clock=clock))
    assert clock.called[-28:] == ["dense", "a", "dense", "b"] * 7
    assert [event.done for event in events if isinstance(event, Round)] == list(range(1, 8))
    assert isinstance(events[-1], Compared)


def test_short_calls_are_repeated_and_long_ones_measured_less_often() -> None:
    clock = Clock()
    short = compare(clock.variant("d", [1e-3]), [clock.variant("v", [1e-3])], clock=clock)
    assert (short.timings[1].calls, short.timings[1].n) == (4, 31)
    assert short.timings[1].seconds == pytest.approx(1e-3)
    long = compare(clock.variant("d", [9.0]), [clock.variant("v", [9.0])], clock=clock)
    assert (long.timings[1].calls, long.timings[1].n) == (1, 7)


def test_halves_that_disagree_are_named() -> None:
    clock = Clock()
    drifting = [1.0] * 3 + [1.0] * 15 + [1.2] * 16
    dense, timing = compare(
        clock.variant("d", drifting), [clock.variant("v", drifting)], clock=clock, budget=1e4
    ).timings
    assert dense.halves == pytest.approx(1 - 1 / 1.2)
    assert dense.disagrees
    assert not timing.disagrees  # both of a pair drift alike


def test_interval_of_the_median_by_signs() -> None:
    """n = 10: P(at most 1 of 10 below) = 11 / 1024 on each side, so the 2nd and the 9th value."""
    check: Callable[[int], tuple[float, float]] = lambda n: median_interval(  # noqa: E731
        [float(k) for k in range(1, n + 1)]
    )
    assert check(10) == (2.0, 9.0)
    assert check(31) == (10.0, 22.0)
    assert check(7) == (1.0, 7.0)
    with pytest.raises(PruningError, match="at least 7"):
        next(time_pairs(Variant("d", "d", lambda: None), [], rounds=6))
