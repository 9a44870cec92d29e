"""Limits for finding couplings, so that no network can keep a page or a computer busy."""

import time
from dataclasses import dataclass, field

from pruning_core.types import PruningError

SECONDS = 60.0
STEPS = 500_000
BYTES = 2 * 2**30


@dataclass
class Budget:
    """Counts time, operations and bytes; every count raises PruningError above its limit.

    seconds: of this thread's computing, so that a busy machine does not change what is known.
    """

    seconds: float = SECONDS
    steps: int = STEPS
    bytes: int = BYTES
    _end: float = field(init=False)
    _done: int = field(init=False, default=0)
    _held: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._end = time.thread_time() + self.seconds

    def step(self) -> None:
        """One operation more."""
        self._done += 1
        if self._done > self.steps:
            raise _too_much(f"{self.steps:,} operations")
        if time.thread_time() > self._end:
            raise _too_much(f"{self.seconds:.0f} s of computing")

    def hold(self, count: int) -> None:
        """So many bytes more are kept."""
        self._held += count
        if self._held > self.bytes:
            raise _too_much(f"{self.bytes / 2**30:.1f} GB")


def _too_much(limit: str) -> PruningError:
    return PruningError(
        f"It takes more than {limit} to find which channels of this network are tied together: "
        "try a smaller input."
    )
