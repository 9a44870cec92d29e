"""The points of a sensitivity scan as a file, and those of an interrupted scan."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import chain
from typing import Any

from pruning_core.tasks import Task
from pruning_core.training.journal import Journal
from pruning_core.types import PruningError, SensitivityPoint

POINTS = "points"
NUMBERS = ("sparsity", "achieved", "loss", "value", "change")
INTERVALS = ("interval", "change_interval")
TEXTS = ("parameter", "granularity", "why", "in_full")


def pack_points(points: Sequence[SensitivityPoint]) -> bytes:
    """The points as JSON; ends of intervals that are infinite are null."""
    names = [entry.name for entry in fields(SensitivityPoint) if entry.name != "task"]
    rows = [{name: _finite(getattr(point, name)) for name in names} for point in points]
    return json.dumps(rows, allow_nan=False).encode()


def _finite(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def unpack_points(content: bytes, task: Task) -> tuple[SensitivityPoint, ...]:
    """The points. Raises PruningError for bytes that are no points."""
    try:
        return tuple(_point(row, task) for row in json.loads(content))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise PruningError("The points of a kept scan are damaged.") from error


def _point(row: dict[str, Any], task: Task) -> SensitivityPoint:
    for name in TEXTS:
        if not (isinstance(row[name], str) or (row[name] is None and name in ("why", "in_full"))):
            raise ValueError(name)
    numbers: dict[str, Any] = {
        name: math.nan if row[name] is None else float(row[name]) for name in NUMBERS
    }
    ends = {name: _interval(row[name]) for name in INTERVALS}
    own: dict[str, Any] = numbers | ends | {name: row[name] for name in TEXTS}
    group = tuple(str(name) for name in row["group"])
    return SensitivityPoint(n=int(row["n"]), group=group, task=task, **own)


def _interval(ends: Any) -> tuple[float, float]:
    low, high = ends
    return (-math.inf if low is None else float(low), math.inf if high is None else float(high))


class KeptPoints:
    """The units of a scan that can continue, each with its points.

    task: of the points; expected: the layers of each unit, in the order in which they are measured.
    units: those that the interrupted scan has measured. Without a journal nothing is kept.
    """

    def __init__(
        self, journal: Journal | None, task: Task, expected: Sequence[Sequence[str]]
    ) -> None:
        self.units: list[list[SensitivityPoint]] = []
        self._journal = journal
        content = None if journal is None else journal.read(POINTS)
        points = unpack_points(content, task) if content is not None else ()
        left = list(points)
        for names in expected:
            count = next((k for k, p in enumerate(left) if p.parameter not in names), len(left))
            if not count:
                break
            self.units.append(left[:count])
            left = left[count:]

    def all(self, rest: Iterable[list[SensitivityPoint]]) -> Iterator[list[SensitivityPoint]]:
        """The kept units, then the others, which are kept too."""
        yield from list(self.units)
        for points in rest:
            yield points
            if self._journal is not None:
                self.units.append(points)
                self._journal.done = len({p.parameter for unit in self.units for p in unit})
                self._journal.keep(POINTS, lambda: pack_points([*chain.from_iterable(self.units)]))
