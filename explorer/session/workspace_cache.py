"""A small cache of opened workspaces, which all sessions share."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from pruning_core.types import DataMissing

Item = TypeVar("Item")


class WorkspaceCache(Generic[Item]):
    """Holds up to `size` items and removes the least recently used one. Thread-safe.

    `st.cache_resource` does not fit here: opening an item shows the progress of a download, and a
    cached function may not draw it.

    retry_seconds: an item whose files were missing is not opened again in this time. Otherwise
    every page would first wait for a network that does not answer.
    """

    def __init__(
        self, size: int, retry_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._size = size
        self._retry_seconds = retry_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._items: OrderedDict[Hashable, Item] = OrderedDict()
        self._opening: dict[Hashable, threading.Lock] = {}
        self._missing: dict[Hashable, tuple[float, str]] = {}

    def get(self, key: Hashable, open_item: Callable[[], Item]) -> Item:
        """The item of that key. Opens it where it is not in the cache; one thread opens it.

        Raises what `open_item` raises, and DataMissing again within `retry_seconds`.
        """
        with self._lock:
            opening = self._opening.setdefault(key, threading.Lock())
        with opening:
            with self._lock:
                if key in self._items:
                    self._items.move_to_end(key)
                    return self._items[key]
                since, sentence = self._missing.get(key, (-float("inf"), ""))
            if self._clock() - since < self._retry_seconds:
                raise DataMissing(sentence)
            item = self._open(key, open_item)
            with self._lock:
                self._items[key] = item
                while len(self._items) > self._size:
                    self._items.popitem(last=False)
            return item

    def has(self, key: Hashable) -> bool:
        """Is the item of that key in the cache? Waits for no other thread that opens one."""
        with self._lock:
            return key in self._items

    def retry_missing(self) -> None:
        """Lets the next `get` look for missing files at once."""
        with self._lock:
            self._missing.clear()

    def _open(self, key: Hashable, open_item: Callable[[], Item]) -> Item:
        try:
            return open_item()
        except DataMissing as problem:
            with self._lock:
                self._missing[key] = (self._clock(), str(problem))
            raise
