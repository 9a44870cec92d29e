"""A small shelf of things that are slow to open: shared by all sessions, opened once, the longest
unused one dropped.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from pruning_core.types import DataMissing

Thing = TypeVar("Thing")


class WorkspaceCache(Generic[Thing]):
    """Holds up to `size` things. Every method may be called from any thread.

    Why not `st.cache_resource`: opening shows the progress of a download, which a cached function
    may not draw. A thing whose files were missing is not asked for again for `patience` seconds: a
    page that waits for a dead network is no page.
    """

    def __init__(
        self, size: int, patience: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._size = size
        self._patience = patience
        self._clock = clock
        self._lock = threading.Lock()
        self._things: OrderedDict[Hashable, Thing] = OrderedDict()
        self._opening: dict[Hashable, threading.Lock] = {}
        self._missing: dict[Hashable, tuple[float, str]] = {}

    def get(self, key: Hashable, make: Callable[[], Thing]) -> Thing:
        """The thing under that key, made now if it is not there; what `make` raises goes through."""
        with self._lock:
            opening = self._opening.setdefault(key, threading.Lock())
        with opening:
            with self._lock:
                if key in self._things:
                    self._things.move_to_end(key)
                    return self._things[key]
                since, sentence = self._missing.get(key, (-float("inf"), ""))
            if self._clock() - since < self._patience:
                raise DataMissing(sentence)
            thing = self._made(key, make)
            with self._lock:
                self._things[key] = thing
                while len(self._things) > self._size:
                    self._things.popitem(last=False)
            return thing

    def retry(self) -> None:
        """Forgets what was missing: the next `get` looks again."""
        with self._lock:
            self._missing.clear()

    def _made(self, key: Hashable, make: Callable[[], Thing]) -> Thing:
        try:
            return make()
        except DataMissing as problem:
            with self._lock:
                self._missing[key] = self._clock(), str(problem)
            raise
