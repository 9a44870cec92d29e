"""Limits for finding couplings, so that no network can keep a page or a computer busy."""

import time
from dataclasses import dataclass, field

from pruning_core.types import PruningError

SECONDS = 60.0
STEPS = 500_000
BYTES = 2 * 2**30
SLOW = 0.01
"""Seconds of one operation from which its time is that of its numbers, so of the input's size."""
SMALLER = "try a smaller input"
FEWER = (
    "a smaller input helps only where the network repeats operations for every part of it, such as "
    "every token"
)
NO_INPUT = "its weights alone take that much, so no smaller input helps"


@dataclass
class Budget:
    """Counts time, operations and bytes; every count raises PruningError above its limit.

    seconds: of this thread's computing, so that a busy machine does not change what is known.
    """

    seconds: float = SECONDS
    steps: int = STEPS
    bytes: int = BYTES
    _end: float = field(init=False)
    _earliest: float = field(init=False)
    _done: int = field(init=False, default=0)
    _held: int = field(init=False, default=0)
    _weights: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._end = time.thread_time() + self.seconds
        self._earliest = time.perf_counter() + self.seconds

    def step(self) -> None:
        """One operation more."""
        self._done += 1
        if self._done > self.steps:
            raise _too_much(f"{self.steps:,} operations", FEWER)
        # A thread computes no longer than time passes, and the thread's time costs a system call.
        if time.perf_counter() > self._earliest and time.thread_time() > self._end:
            slow = self.seconds > SLOW * self._done
            raise _too_much(f"{self.seconds:.0f} s of computing", SMALLER if slow else FEWER)

    def hold(self, count: int, *, weights: bool = False) -> None:
        """Counts bytes that are kept. weights: they do not depend on the size of the input."""
        self._held += count
        self._weights += count if weights else 0
        if self._held > self.bytes:
            raise _too_much(
                f"{self.bytes / 2**30:.1f} GB", NO_INPUT if self._weights > self.bytes else SMALLER
            )


def _too_much(limit: str, remedy: str) -> PruningError:
    return PruningError(
        f"It takes more than {limit} to find which channels of this network are tied together: "
        f"{remedy}."
    )
