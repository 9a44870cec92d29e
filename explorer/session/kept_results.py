"""The last results of a function by key, shared by all sessions."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class KeptResults(Generic[Result]):
    """The results of the `size` keys that were used last. Thread-safe.

    `st.cache_resource` takes as long for a look-up as some parts of a page take in all: it binds
    and hashes each argument.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._results: OrderedDict[Hashable, Result] = OrderedDict()
        self._computing: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, compute: Callable[[], Result]) -> Result:
        """The result of that key. One thread computes it where it is not kept; others wait.

        Raises what `compute` raises; the next call then computes again.
        """
        with self._lock:
            if key in self._results:
                self._results.move_to_end(key)
                return self._results[key]
            computing = self._computing.setdefault(key, threading.Lock())
        with computing:
            with self._lock:
                if key in self._results:
                    return self._results[key]
            try:
                result = compute()
                self._keep(key, result)
            finally:
                with self._lock:
                    self._computing.pop(key, None)
            return result

    def _keep(self, key: Hashable, result: Result) -> None:
        with self._lock:
            self._results[key] = result
            while len(self._results) > self._size:
                self._results.popitem(last=False)
