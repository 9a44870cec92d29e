"""Runs as a tree, as a table of CSV, and where their plans differ."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pruning_core.history.run import Run

COLUMNS = (
    *("id", "parent", "kind", "state", "started", "seconds", "model", "dataset", "fingerprint"),
    *("criterion", "granularity", "allocation", "sparsity", "schedule", "flow", "seed"),
    *("task", "measured", "value", "low", "high", "n", "split", "dense", "sparsity_model"),
    *("parameters_left", "macs_left", "bytes_left", "time_left", "tags", "note"),
)
FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins so is a formula to a spreadsheet."""


def tree_order(runs: Iterable[Run]) -> list[tuple[int, Run]]:
    """Each run after the one that it was made from, with its depth.

    A run whose parent is not among them has the depth 0. Pinned runs are first, then older ones.
    """
    ordered = sorted(runs, key=lambda run: (not run.pinned, run.started))
    known = {run.id for run in ordered}
    children: dict[str | None, list[Run]] = {}
    for run in ordered:
        parent = run.parent if run.parent in known and run.parent != run.id else None
        children.setdefault(parent, []).append(run)
    listed: list[tuple[int, Run]] = []
    waiting = [(0, run) for run in reversed(children.get(None, []))]
    while waiting:
        depth, run = waiting.pop()
        listed.append((depth, run))
        waiting += [(depth + 1, child) for child in reversed(children.get(run.id, []))]
    seen = {run.id for _, run in listed}  # an imported circle of parents has no beginning
    return listed + [(0, run) for run in ordered if run.id not in seen]


def flat_plan(run: Run) -> dict[str, Any]:
    """The fields of the run's plan; those of its training as "fine_tune.epochs"."""
    fields = dict(run.names)
    tune = fields.pop("fine_tune", {})
    fields.pop("version", None)
    nested = tune if isinstance(tune, Mapping) else {}
    return fields | {f"fine_tune.{name}": value for name, value in nested.items()}


def differing_fields(runs: Sequence[Run]) -> list[str]:
    """The fields in which the runs' plans differ, in the order of a plan."""
    plans = [flat_plan(run) for run in runs]
    names = dict.fromkeys(name for plan in plans for name in plan)
    return [name for name in names if any(plan.get(name) != plans[0].get(name) for plan in plans)]


def to_csv(runs: Iterable[Run]) -> str:
    """A row per run, with the columns `COLUMNS`. Text that a spreadsheet would compute gets a
    quotation mark in front.
    """
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(COLUMNS)
    for run in runs:
        row = _row(run)
        table.writerow([_cell(row.get(name)) for name in COLUMNS])
    return buffer.getvalue()


def _row(run: Run) -> dict[str, Any]:
    state, final = tuple(run.values.items())[-1] if run.values else ("", None)
    dense = run.values.get("dense")
    measured = vars(final) if final is not None else {}
    own = {name: getattr(run, name) for name in COLUMNS[:9]}
    more = {
        "started": datetime.fromtimestamp(run.started, UTC).isoformat(timespec="seconds"),
        "task": run.task.name,
        "measured": state,
        "dense": None if dense is None else dense.value,
        "sparsity_model": run.counts.get("sparsity_model"),
        "tags": ", ".join(run.tags),
        "note": run.note,
    }
    costs = {f"{name}_left": share for name, share in run.costs.items()}
    return flat_plan(run) | measured | own | costs | more


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value
