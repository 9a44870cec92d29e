"""Runs of pages take turns.

Python computes one thread at a time, so many runs at once would all end late. In turn, most end
early, and also the slowest end earlier than side by side.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

PLACES = 2
"""Runs that compute at a time: Python computes one, while another can be in a kernel."""
SECONDS = 1.0
"""Seconds after which a run that still computes lets another one begin."""


class Turns:
    """Lets `places` threads pass at a time, in the order of each thread's first turn.

    A run that draws several parts takes a turn for each, in one thread, so it does not wait behind
    later runs again. A thread that has its turn for longer than `seconds` no longer counts.
    """

    def __init__(self, places: int = PLACES, seconds: float = SECONDS) -> None:
        self._places = places
        self._seconds = seconds
        self._changed = threading.Condition()
        self._numbers = count()
        self._own = threading.local()
        self._waiting: list[int] = []
        self._until: dict[object, float] = {}

    @contextmanager
    def turn(self) -> Iterator[None]:
        """A context that the calling thread enters when it is its turn."""
        held = object()
        with self._changed:
            number: int | None = getattr(self._own, "number", None)
            if number is None:
                number = self._own.number = next(self._numbers)
            self._waiting.append(number)
            while (left := self._left()) > 0 or min(self._waiting) != number:
                self._changed.wait(left or None)
            self._waiting.remove(number)
            self._until[held] = time.monotonic() + self._seconds
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                del self._until[held]
                self._changed.notify_all()

    def _left(self) -> float:
        """Seconds until a place is free at the latest; 0 where one is."""
        now = time.monotonic()
        counted = sorted(until - now for until in self._until.values() if until > now)
        return counted[-self._places] if len(counted) >= self._places else 0.0


turns = Turns()
"""Of all pages of this server."""
