"""A study's results as tables: one row per run, and means with their spread over seeds."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean, stdev

from pruning_core.studies.run import Accuracy, Result
from pruning_core.studies.runner import Event, RunFailed, RunFinished, RunStarted
from pruning_core.studies.study import Study

HEAD = (
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
    "thinned_parameters",
    "thinned_macs",
    "speedup",
    "seconds",
)
"""Columns of the table of runs."""


@dataclass(frozen=True)
class Row:
    """One method at one compression over all its seeds so far. spread: sample standard deviation,
    None for a single seed.

    asked: compression asked for; compression, speedup, macs (left): means; initial, before, after:
    mean top-1 in [0, 1] (after is before where there is no fine-tuning); top5: mean after, None for
    few classes; n: test images.
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


def summary(results: Sequence[Result]) -> tuple[Row, ...]:
    """Means over seeds: granularity by granularity, criterion by criterion, by rising compression."""
    order = {result.run.criterion: place for place, result in reversed(list(enumerate(results)))}
    shapes = {result.run.granularity: place for place, result in reversed(list(enumerate(results)))}

    def key(result: Result) -> tuple[int, int, float]:
        return shapes[result.run.granularity], order[result.run.criterion], result.run.compression

    return tuple(_row(list(group)) for _, group in groupby(sorted(results, key=key), key))


def _row(group: list[Result]) -> Row:
    def mean(value: Callable[[Result], float]) -> float:
        return fmean(map(value, group))

    def spread(value: Callable[[Result], float]) -> float | None:
        return stdev(map(value, group)) if len(group) > 1 else None

    run = group[0].run
    top5 = [found.final.top5 for found in group if found.final.top5 is not None]
    return Row(
        criterion=run.criterion,
        granularity=run.granularity,
        asked=run.compression,
        seeds=len(group),
        compression=mean(lambda found: found.compression),
        speedup=mean(lambda found: found.speedup),
        macs=mean(lambda found: found.macs_left),
        initial=mean(lambda found: found.initial.top1),
        before=mean(lambda found: found.before.top1),
        before_spread=spread(lambda found: found.before.top1),
        after=mean(lambda found: found.final.top1),
        spread=spread(lambda found: found.final.top1),
        top5=fmean(top5) if top5 else None,
        n=group[0].final.n,
    )


def to_csv(study: Study, results: Sequence[Result]) -> str:
    """One row per run with the columns of `HEAD`; empty where something was not measured."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(HEAD)
    plan = study.plan
    for found in results:
        run = found.run
        method = (
            plan.model,
            plan.dataset,
            run.criterion,
            run.granularity,
            plan.allocation,
            plan.schedule,
            plan.flow,
        )
        asked = (f"{run.compression!r}", run.seed, found.epochs, found.images)
        accuracies = (
            *_cells(found.initial),
            *_cells(found.before),
            *_cells(found.after),
            found.initial.n,
        )
        counts = (
            found.parameters,
            found.nonzeros,
            f"{found.compression:.4f}",
            found.macs,
            found.macs_effective,
        )
        thinned = (
            "" if value is None else value
            for value in (found.thinned_parameters, found.thinned_macs)
        )
        table.writerow(
            (
                *method,
                *asked,
                *accuracies,
                *counts,
                *thinned,
                f"{found.speedup:.4f}",
                f"{found.seconds:.2f}",
            )
        )
    return out.getvalue()


def _cells(found: Accuracy | None) -> tuple[str, ...]:
    if found is None:
        return ("",) * 4
    top5 = "" if found.top5 is None else f"{found.top5:.6f}"
    return f"{found.top1:.6f}", f"{found.low:.6f}", f"{found.high:.6f}", top5


def to_text(rows: Sequence[Row]) -> str:
    """The table of means for a terminal: accuracies in percent, with the spread over seeds."""
    lines = [
        f"{'criterion':18} {'granularity':12} {'compression':>11} {'speed-up':>8} {'before':>14} {'after':>14}  seeds"
    ]
    for row in rows:
        before = _percent(row.before, row.before_spread)
        after = _percent(row.after, row.spread)
        sizes = f"{row.compression:10.2f}x {row.speedup:7.2f}x"
        lines.append(
            f"{row.criterion:18} {row.granularity:12} {sizes} {before:>14} {after:>14}  {row.seeds}"
        )
    return "\n".join(lines) + "\n"


def _percent(mean: float, spread: float | None) -> str:
    return f"{100 * mean:.2f}" + ("" if spread is None else f" ± {100 * spread:.2f}")


def event_line(event: Event) -> str | None:
    """A line for a terminal about a run that began, was measured or failed; None for its single
    steps.
    """
    return _LINES[type(event)](event) if type(event) in _LINES else None


def _begun(event: RunStarted) -> str:
    run = event.run
    return f"run {event.number} of {event.total}: {run.criterion}, {run.granularity}, {run.compression:g}x, seed {run.seed}"


def _measured(event: RunFinished) -> str:
    found = event.result
    where = "was on disk" if event.again else f"{found.seconds:.1f} s"
    return (
        f"run {event.number} of {event.total}: top-1 {found.before.top1:.4f} before, {found.final.top1:.4f} after, "
        f"{found.compression:.2f}x, {where}"
    )


def _failed(event: RunFailed) -> str:
    return f"run {event.number} of {event.total} failed: {event.why}"


_LINES: dict[type, Callable[..., str]] = {
    RunStarted: _begun,
    RunFinished: _measured,
    RunFailed: _failed,
}
