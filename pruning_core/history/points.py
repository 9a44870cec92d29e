"""The points of a sensitivity scan as a file of a run."""

import json
import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from pruning_core.tasks import Task
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
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise PruningError("The points of a scan in the history are damaged.") from error


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
