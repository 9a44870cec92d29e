"""Searches for the smallest sparsity that meets a target: bytes, or time."""

from collections.abc import Callable, Generator
from typing import Protocol, TypeVar

from pruning_core.sensitivity.farthest import STEPS


class Attempt(Protocol):
    """What was measured at one sparsity."""

    @property
    def within(self) -> bool:
        """Is it within the limit?"""


Tried = TypeVar("Tried", bound=Attempt)


def smallest_within(
    try_at: Callable[[int], Tried], too_large: int = -1
) -> Generator[Tried, None, int | None]:
    """Yields what was tried, and returns the smallest step within the limit.

    By bisection: more sparsity is smaller. too_large: a step that is known not to be within.
    Returns None where not even `STEPS` is within.
    """
    most = try_at(STEPS)
    yield most
    if not most.within:
        return None
    fits = STEPS
    while fits - too_large > 1:
        middle = (too_large + fits) // 2
        tried = try_at(middle)
        yield tried
        if tried.within:
            fits = middle
        else:
            too_large = middle
    return fits
