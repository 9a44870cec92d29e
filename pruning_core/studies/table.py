"""A study's results as tables: one row per run, and means with their spread over seeds."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from itertools import groupby
from statistics import fmean, stdev

from pruning_core.studies.run import Measurement, Result
from pruning_core.studies.runner import Event, RunFailed, RunFinished, RunStarted
from pruning_core.studies.sharing import RunElsewhere
from pruning_core.studies.study import Study
from pruning_core.tasks.classification import CLASSIFICATION
from pruning_core.tasks.task import Task
from pruning_core.workers import WorkerLost

COLUMNS = (
    "model",
    "dataset",
    "criterion",
    "granularity",
    "allocation",
    "schedule",
    "flow",
    "compression_asked",
    "seed",
    "epochs",
    "train_images",
    "initial_top1",
    "initial_low",
    "initial_high",
    "initial_top5",
    "before_top1",
    "before_low",
    "before_high",
    "before_top5",
    "after_top1",
    "after_low",
    "after_high",
    "after_top5",
    "n",
    "parameters",
    "nonzeros",
    "compression",
    "macs",
    "macs_effective",
    "thinned_nonzeros",
    "thinned_macs",
    "speedup",
    "seconds",
    "dense_bytes",
    "stored_bytes",
    "measured_speedup",
)
"""Columns of the table of runs."""


@dataclass(frozen=True)
class Row:
    """One method at one compression: means over the seeds that are finished.

    asked: the target compression. compression, speedup, macs: means of what was reached; macs are
    the multiply-adds left.
    initial, before, after: means of the task's value; after equals before without fine-tuning.
    storage: mean of dense bytes / bytes in the smallest sparse format; None where a run has none.
    measured_speedup: mean of the measured ones; None where a run has none.
    before_spread, spread: sample standard deviation of before and after; None for a single seed.
    top5: mean after, None for five classes or fewer. n: number of test images.
    """

    criterion: str
    granularity: str
    asked: float
    seeds: int
    compression: float
    speedup: float
    macs: float
    initial: float
    before: float
    before_spread: float | None
    after: float
    spread: float | None
    top5: float | None
    n: int
    storage: float | None = None
    measured_speedup: float | None = None
    task: Task = field(default=CLASSIFICATION, repr=False)


def row_dict(row: Row) -> dict[str, object]:
    """A row as JSON values, with the task's name where it is not classification."""
    raw = {f.name: getattr(row, f.name) for f in fields(row) if f.name != "task"}
    return raw if row.task.name == CLASSIFICATION.name else {**raw, "task": row.task.name}


def summary(results: Sequence[Result]) -> tuple[Row, ...]:
    """One row per method and compression.

    Granularities and criteria come in the order of the results, compressions rise.
    """
    criteria = list(dict.fromkeys(result.run.criterion for result in results))
    granularities = list(dict.fromkeys(result.run.granularity for result in results))

    def key(result: Result) -> tuple[int, int, float]:
        run = result.run
        return (
            granularities.index(run.granularity),
            criteria.index(run.criterion),
            run.compression,
        )

    return tuple(_row(list(group)) for _, group in groupby(sorted(results, key=key), key))


def _row(group: list[Result]) -> Row:
    """The means of the results of one method at one compression."""

    def mean(value: Callable[[Result], float]) -> float:
        return fmean(map(value, group))

    def spread(value: Callable[[Result], float]) -> float | None:
        return stdev(map(value, group)) if len(group) > 1 else None

    def mean_if_known(value: Callable[[Result], float | None]) -> float | None:
        known = [own for own in map(value, group) if own is not None]
        return fmean(known) if len(known) == len(group) else None

    run = group[0].run
    top5 = [result.final.top5 for result in group if result.final.top5 is not None]
    return Row(
        criterion=run.criterion,
        granularity=run.granularity,
        asked=run.compression,
        seeds=len(group),
        compression=mean(lambda result: result.compression),
        speedup=mean(lambda result: result.speedup),
        macs=mean(lambda result: result.macs_left),
        initial=mean(lambda result: result.initial.value),
        before=mean(lambda result: result.before.value),
        before_spread=spread(lambda result: result.before.value),
        after=mean(lambda result: result.final.value),
        spread=spread(lambda result: result.final.value),
        top5=fmean(top5) if top5 else None,
        n=group[0].final.n,
        storage=mean_if_known(lambda result: result.storage),
        measured_speedup=mean_if_known(lambda result: result.measured_speedup),
        task=group[0].initial.task,
    )


def to_csv(study: Study, results: Sequence[Result]) -> str:
    """One row per run with the columns `COLUMNS`; a cell is empty where nothing was measured.

    Of another task than classification, the names say `value` in place of `top1`, and a last column
    has the task's name.
    """
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    other = {result.initial.task.name for result in results} - {CLASSIFICATION.name}
    names = tuple(name.replace("top1", "value") for name in COLUMNS)
    table.writerow((*names, "task") if other else COLUMNS)
    for result in results:
        cells = (*_method_cells(study, result), *_value_cells(result), *_count_cells(result))
        table.writerow((*cells, result.initial.task.name) if other else cells)
    return out.getvalue()


def _method_cells(study: Study, result: Result) -> tuple[object, ...]:
    """From `model` to `train_images`."""
    plan = study.plan
    run = result.run
    method = (run.criterion, run.granularity, plan.allocation, plan.schedule, plan.flow)
    target = (f"{run.compression!r}", run.seed, result.epochs, result.images)
    return (plan.model, plan.dataset, *method, *target)


def _value_cells(result: Result) -> tuple[object, ...]:
    """From `initial_top1` to `n`."""
    measurements = (result.initial, result.before, result.after)
    cells = (cell for measurement in measurements for cell in _cells(measurement))
    return (*cells, result.initial.n)


def _count_cells(result: Result) -> tuple[object, ...]:
    """From `parameters` to `measured_speedup`."""
    thinned = (result.thinned_nonzeros, result.thinned_macs)
    stored = (result.dense_bytes, result.stored_bytes)
    return (
        result.parameters,
        result.nonzeros,
        f"{result.compression:.4f}",
        result.macs,
        result.macs_effective,
        *("" if value is None else value for value in thinned),
        f"{result.speedup:.4f}",
        f"{result.seconds:.2f}",
        *("" if value is None else value for value in stored),
        "" if result.measured_speedup is None else f"{result.measured_speedup:.4f}",
    )


def _cells(measurement: Measurement | None) -> tuple[str, ...]:
    if measurement is None:
        return ("",) * 4
    top5 = "" if measurement.top5 is None else f"{measurement.top5:.6f}"
    numbers = (measurement.value, measurement.low, measurement.high)
    return (*(f"{number:.6f}" for number in numbers), top5)


def to_text(rows: Sequence[Row]) -> str:
    """The table of means for a terminal, with the spread over seeds. Fractions are in percent."""
    titles = (
        f"{'compression':>11} {'speed-up':>8} {'storage':>8} {'before':>14} {'after':>14}  seeds"
    )
    lines = [f"{'criterion':18} {'granularity':12} {titles}"]
    for row in rows:
        before = _text(row.task, row.before, row.before_spread)
        after = _text(row.task, row.after, row.spread)
        factors = f"{row.compression:10.2f}x {row.speedup:7.2f}x"
        factors += f" {'-':>8}" if row.storage is None else f" {row.storage:7.2f}x"
        accuracies = f"{before:>14} {after:>14}"
        lines.append(f"{row.criterion:18} {row.granularity:12} {factors} {accuracies}  {row.seeds}")
    return "\n".join(lines) + "\n"


def _text(task: Task, mean: float, spread: float | None) -> str:
    def number(value: float) -> str:
        return f"{100 * value:.2f}" if task.percent else f"{value:.4g}"

    return number(mean) + ("" if spread is None else f" ± {number(spread)}")


def event_line(event: Event) -> str | None:
    """A line for a terminal; None for steps and epochs."""
    return _LINES[type(event)](event) if type(event) in _LINES else None


def _started_line(event: RunStarted) -> str:
    run = event.run
    settings = f"{run.criterion}, {run.granularity}, {run.compression:g}x, seed {run.seed}"
    return f"run {event.number} of {event.total}: {settings}"


def _finished_line(event: RunFinished) -> str:
    result = event.result
    source = "loaded from disk" if event.from_disk else f"{result.seconds:.1f} s"
    task = result.initial.task
    before = task.text(result.before.value)
    values = f"{task.short_label} {before} before, {task.text(result.final.value)} after"
    numbers = f"{values}, {result.compression:.2f}x"
    return f"run {event.number} of {event.total}: {numbers}, {source}"


def _failed_line(event: RunFailed) -> str:
    return f"run {event.number} of {event.total} failed: {event.reason}"


def _elsewhere_line(event: RunElsewhere) -> str:
    return f"run {event.number} of {event.total}: another process carries it out; waiting"


_LINES: dict[type, Callable[..., str]] = {
    RunStarted: _started_line,
    RunFinished: _finished_line,
    RunFailed: _failed_line,
    RunElsewhere: _elsewhere_line,
    WorkerLost: lambda lost: lost.sentence,
}
