"""The last result under each name: what a change does not concern is not computed again."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

LARGE = 2**20
"""The most numbers of a tensor whose last result is kept: larger ones take much memory."""
Result = TypeVar("Result")


class LastResults:
    """Results by name, each with what it was computed from. Any thread may call it.

    What results are computed from must never change, and neither must the results: they are given
    to several callers.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[tuple[object, ...], Any]] = {}

    def get(
        self,
        name: Hashable,
        sources: tuple[object, ...],
        compute: Callable[[], Result],
        numbers: int = 1,
    ) -> Result:
        """`compute()`, or the last result under that name where its sources were the same.

        Sources are the same where they are the same objects, or equal whole numbers.
        numbers: in the tensor that is computed; above `LARGE` it is computed at each call.

        >>> last = LastResults()
        >>> last.get("square", (3,), lambda: 9), last.get("square", (3,), lambda: 0)
        (9, 9)
        """
        if numbers > LARGE:
            return compute()
        known = self._known.get(name)
        if known is not None and _same(known[0], sources):
            result: Result = known[1]
            return result
        made = compute()
        self._known[name] = (sources, made)
        return made


def _same(first: tuple[object, ...], second: tuple[object, ...]) -> bool:
    return len(first) == len(second) and all(
        a is b or (type(a) is int and type(b) is int and a == b)
        for a, b in zip(first, second, strict=True)
    )
