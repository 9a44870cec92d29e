"""`pruning scan`: measures a sensitivity curve of every layer."""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from pruning_core.cli.command import Command
from pruning_core.cli.files import open_noted, output_file, read_plan
from pruning_core.cli.options import (
    add_curve_options,
    add_history,
    add_json,
    add_plan,
    add_repair,
    add_subject,
    add_workers,
    backend_of,
    command_history,
    names,
    with_repair,
)
from pruning_core.cli.output import note, note_full_passes, print_json
from pruning_core.cli.resuming import carried
from pruning_core.granularity import granularity
from pruning_core.history import History, Keeping, kept_scan, scan_record
from pruning_core.model.device import choose_device
from pruning_core.plan import Plan
from pruning_core.sensitivity.grid import measure, to_csv
from pruning_core.sensitivity.grid_jobs import Grid, GridPoint, make_jobs
from pruning_core.sensitivity.scan import point_dict
from pruning_core.studies import fingerprint
from pruning_core.types import SensitivityPoint
from pruning_core.whole_files import write_file
from pruning_core.workspaces import Workspace


def add_options(parser: argparse.ArgumentParser) -> None:
    add_plan(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="CSV file to write: a row per point"
    )
    parser.add_argument(
        "--criteria",
        type=names,
        metavar="NAMES",
        help="criteria instead of the plan's, such as magnitude_l1,taylor",
    )
    parser.add_argument(
        "--granularities",
        type=names,
        metavar="NAMES",
        help="granularities instead of the plan's, such as fine,filter",
    )
    add_curve_options(parser)
    add_repair(parser)
    add_workers(parser)
    add_subject(parser)
    add_history(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    plan = read_plan(options.plan)
    out = output_file(options.out)
    space = open_noted(plan)
    plan = with_repair(plan, space, options)
    grid = Grid(
        options.grid,
        options.granularities or (plan.granularity,),
        options.criteria or (plan.criterion,),
        tied=not options.alone,
    )
    base = fingerprint(space)
    device = choose_device(options.device)
    place = (str(out.resolve()), str(options.device))
    with carried({}, "scan", base, plan.to_json(), repr(grid), *place) as job:
        points = measure(
            grid,
            plan,
            space,
            by_name=True,
            backend=backend_of(options),
            device=device,
            journal=None if job is None else job.journal,
        )
        grid_points = _kept(points, plan, space, grid, base, command_history(options))
        write_file(out, to_csv(grid_points))
    note_full_passes([grid_point.point for grid_point in grid_points])
    if options.json:
        print_json([{"criterion": p.criterion} | point_dict(p.point) for p in grid_points])
    return 0


def _kept(
    points: Iterator[GridPoint],
    plan: Plan,
    space: Workspace,
    grid: Grid,
    base: str,
    history: History | None,
) -> list[GridPoint]:
    """All points. The history keeps a scan of each criterion and granularity. base: fingerprint."""
    measured: list[GridPoint] = []

    def noted(part: Iterator[GridPoint]) -> Iterator[SensitivityPoint]:
        for point in part:
            measured.append(point)
            _note_point(point.point)
            yield point.point

    jobs = make_jobs(grid, plan, space)
    for (criterion, name), part in groupby(points, lambda p: (p.criterion, p.point.granularity)):
        own = [job for job in jobs if (job.criterion, job.granularity) == (criterion, name)]
        fixed = granularity(name).fixed_ratio
        settings = {
            "grid": tuple(sorted({0.0, *(grid.sparsities if fixed is None else (fixed,))})),
            "layers": tuple(layer for job in own for layer in job.layers),
            "units": len(own),
            "tied": own[0].tied,
        }
        of_part = replace(plan, criterion=criterion, granularity=name)
        start = scan_record(of_part, settings, base, space.dataset.task)
        for event in kept_scan(history, start, noted(part)):
            if isinstance(event, Keeping):
                note(event.words)
    return measured


def _note_point(point: SensitivityPoint) -> None:
    reason = point.why or "less than one whole group"
    suffix = f"  nothing removed: {reason}" if point.no_op else ""
    value = f"{point.task.short_label} {point.task.text(point.value)}"
    note(f"{point.parameter} {point.sparsity:g}: {value}{suffix}")


COMMAND = Command(
    "scan",
    "measure a sensitivity curve of every layer and write a CSV file",
    "pruning scan plan.json --out curves.csv",
    add_options,
    run,
)
