"""Finished evaluations that the workers of a search share, and that outlast every one of them.

Every worker runs the whole search method with a seed of its own and looks here first: ratios that
were evaluated are never evaluated again. So a search that was interrupted is resumed by the
same call: it proposes the same ratios, and their values are known.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol, runtime_checkable
from uuid import uuid4

from pruning_core.search.candidates import Evaluate, Judged
from pruning_core.search.record_log import Record, RecordLog
from pruning_core.types import PruningError, Ratios, ResourceFailed

POLL = 0.05
"""Seconds between two looks at an evaluation that another worker has begun."""
MOST_WORKERS = 1024
SEED_STEP = 1_000_003
DIGITS = 9
"""Ratios that agree in these digits are the same ratios."""

NUMBERS = ("value", "score", "loss", "divergence")
"""Fields of `Judged` that the log keeps."""

Known = tuple[Ratios, Judged]


@runtime_checkable
class Shared(Protocol):
    """An `Evaluate` that other workers share."""

    def news(self) -> tuple[Known, ...]:
        """What other workers finished since the last call, and before the first one."""
        ...


def news(evaluate: Evaluate) -> tuple[Known, ...]:
    """What other workers have finished since the last call; nothing where there are none."""
    return evaluate.news() if isinstance(evaluate, Shared) else ()


class SharedEvaluate:
    """An `Evaluate` that looks ratios up in the log, and evaluates only what nobody has finished.

    number: of this worker, the first that no other one has. numbers: of its candidates: the first
    one, and the step from each to the next. measured: evaluations made here.
    Ratios that another worker is evaluating are waited for; where that worker was killed, they are
    evaluated here, and the log says so.
    """

    def __init__(
        self, log: RecordLog, evaluate: Evaluate, numbers: tuple[int, int] = (1, 1)
    ) -> None:
        self.measured = 0
        self._log = log
        self._evaluate = evaluate
        self._numbers = numbers
        self._read = 0
        self._latest: dict[str, Record] = {}
        self._owner: dict[int, str] = {}
        self._news: list[Known] = []
        with log.locked():
            self.number = next(slot for slot in range(MOST_WORKERS) if log.take(slot))
            self.worker = f"{self.number}-{uuid4().hex[:8]}"
            log.append({"state": "started", "worker": self.worker})
            self._catch_up()
            for record in list(self._latest.values()):
                self._record_if_lost(record)

    def __call__(self, ratios: Ratios) -> Judged:
        """The value of the ratios. Raises PruningError where they cannot be evaluated."""
        key = key_of(ratios)
        while (known := self._claim(key, ratios)) is not None:
            if known["state"] == "finished":
                return _judged(known)
            if known["state"] == "failed":
                raise PruningError(known["reason"])
            time.sleep(POLL)
        outcome: dict[str, Any] = {"state": "lost", "by": self.worker}
        try:
            judged = self._evaluate(ratios)
            values = {name: getattr(judged, name) for name in NUMBERS}
            outcome = {"state": "finished", **values}
            self.measured += 1
        except ResourceFailed:
            raise
        except PruningError as error:
            outcome = {"state": "failed", "reason": str(error)}
            raise
        finally:
            self._append(key, ratios, **outcome)
        return judged

    def number_of(self, count: int) -> int:
        first, step = self._numbers
        return first + step * (count - 1)

    def news(self) -> tuple[Known, ...]:
        with self._log.locked():
            self._catch_up()
        fresh = tuple(self._news)
        self._news.clear()
        return fresh

    def finished(self) -> int:
        """How many different ratios all workers have evaluated."""
        with self._log.locked():
            self._catch_up()
        return sum(record["state"] == "finished" for record in self._latest.values())

    def _claim(self, key: str, ratios: Ratios) -> Record | None:
        """What is known of the ratios; None where this worker is to evaluate them."""
        with self._log.locked():
            self._catch_up()
            known = self._latest.get(key)
            if known and known["state"] != "lost" and not self._record_if_lost(known):
                return known
            self._append(key, ratios, "running")
            return None

    def _record_if_lost(self, record: Record) -> bool:
        """Is a running evaluation without its worker? Then the log says that it is lost."""
        worker: str = record["worker"]
        slot = int(worker.partition("-")[0])
        if record["state"] != "running":
            return False
        owned = self._owner.get(slot) == worker
        if owned and (worker == self.worker or self._log.held(slot)):
            return worker == self.worker
        self._append(record["key"], record["ratios"], "lost", by=worker)
        return True

    def _append(self, key: str, ratios: Ratios, state: str, **more: Any) -> None:
        record = {"state": state, "key": key, "ratios": ratios, "worker": self.worker, **more}
        self._log.append(record)
        self._latest[key] = record

    def _catch_up(self) -> None:
        """Reads what was appended since the last time."""
        records, self._read = self._log.read(self._read)
        for record in records:
            if record["state"] == "started":
                self._owner[int(record["worker"].partition("-")[0])] = record["worker"]
                continue
            self._latest[record["key"]] = record
            if record["state"] == "finished" and record["worker"] != self.worker:
                self._news.append((record["ratios"], _judged(record)))


@contextmanager
def shared(
    log: RecordLog, evaluate: Evaluate, numbers: tuple[int, int] = (1, 1)
) -> Iterator[SharedEvaluate]:
    """Takes part in the search whose evaluations are in the log; its slot is free afterwards."""
    try:
        yield SharedEvaluate(log, evaluate, numbers)
    finally:
        with suppress(PruningError):
            log.close()


def worker_seed(seed: int, number: int) -> int:
    """The seed of a worker; the first worker's is the search's own."""
    return seed + SEED_STEP * number


def key_of(ratios: Ratios) -> str:
    """The same text for the same ratios, in any order.

    >>> key_of({"b": 0.5, "a": 0.1 + 0.2})
    '{"a": 0.3, "b": 0.5}'
    """
    return json.dumps({name: round(ratios[name], DIGITS) for name in sorted(ratios)})


def _judged(record: Record) -> Judged:
    return Judged(**{name: record[name] for name in NUMBERS})
