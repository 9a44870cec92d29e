"""`pruning scan`: measures a sensitivity curve of every layer."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from pruning_core.cli.command import Command
from pruning_core.cli.files import open_noted, output_file, read_plan
from pruning_core.cli.options import (
    add_curve_options,
    add_json,
    add_plan,
    add_repair,
    add_subject,
    add_workers,
    backend_of,
    names,
    with_repair,
)
from pruning_core.cli.output import note, note_full_passes, print_json
from pruning_core.model.device import choose_device
from pruning_core.plan import Plan
from pruning_core.sensitivity.grid import measure, to_csv
from pruning_core.sensitivity.grid_jobs import Grid, GridPoint
from pruning_core.sensitivity.scan import point_dict
from pruning_core.types import SensitivityPoint
from pruning_core.whole_files import write_file


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
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    plan = read_plan(options.plan)
    out = output_file(options.out)
    grid_points = []
    for grid_point in _measured(plan, options):
        grid_points.append(grid_point)
        _note_point(grid_point.point)
    write_file(out, to_csv(grid_points))
    note_full_passes([grid_point.point for grid_point in grid_points])
    if options.json:
        print_json([{"criterion": p.criterion} | point_dict(p.point) for p in grid_points])
    return 0


def _measured(plan: Plan, options: argparse.Namespace) -> Iterator[GridPoint]:
    grid = Grid(
        options.grid,
        options.granularities or (plan.granularity,),
        options.criteria or (plan.criterion,),
        tied=not options.alone,
    )
    device = choose_device(options.device)
    space = open_noted(plan)
    plan = with_repair(plan, space, options)
    return measure(grid, plan, space, by_name=True, backend=backend_of(options), device=device)


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
