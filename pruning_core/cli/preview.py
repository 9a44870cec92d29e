"""`pruning preview`: estimates the sensitivity curves in about a tenth of a scan's time."""

import argparse
from collections.abc import Sequence
from math import isfinite
from pathlib import Path

from pruning_core.cli.command import Command
from pruning_core.cli.files import open_noted, output_file, read_plan
from pruning_core.cli.options import add_curve_options, add_json, add_plan, add_subject
from pruning_core.cli.output import note, note_full_passes, print_json
from pruning_core.granularity import granularity
from pruning_core.model.device import choose_device
from pruning_core.sensitivity.preview import preview_plan
from pruning_core.sensitivity.preview_bands import Band, bands_csv
from pruning_core.sensitivity.scan import point_dict
from pruning_core.whole_files import write_file


def add_options(parser: argparse.ArgumentParser) -> None:
    add_plan(parser)
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="CSV file to write: a row per point with its band; written again after every round",
    )
    parser.add_argument(
        "--share",
        type=float,
        default=0.1,
        metavar="FRACTION",
        help="fraction of the full scan's evaluations and work to use; default 0.1",
    )
    add_curve_options(parser)
    add_subject(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    plan = read_plan(options.plan)
    out = output_file(options.out)
    space = open_noted(plan)
    tied = granularity(plan.granularity).ties_layers and not options.alone
    device = choose_device(options.device)
    bands: tuple[Band, ...] = ()
    for preview in preview_plan(
        plan, space, options.grid, tied=tied, share=options.share, device=device
    ):
        bands = preview.bands
        write_file(out, bands_csv(bands))
        evaluations = f"{preview.evaluation_share:.1%} of the full scan's evaluations"
        work = f"about {preview.work:.1%} of its work"
        note(f"{evaluations}, {work}: mean width of a band {mean_width(bands)}")
    note_full_passes(bands)
    if options.json:
        print_json([point_dict(band) for band in bands])
    return 0


def mean_width(bands: Sequence[Band]) -> str:
    """The mean width of the bands in words, where all have both ends."""
    widths = [band.interval[1] - band.interval[0] for band in bands]
    known = [width for width in widths if isfinite(width)]
    if len(known) < len(widths):
        known_part = f"{len(known)} of {len(widths)} bands have both ends"
        return f"not known yet ({known_part})"
    width = sum(widths) / len(widths)
    return f"{100 * width:.1f} points" if bands[0].task.percent else f"{width:.3g}"


COMMAND = Command(
    "preview",
    "estimate the sensitivity curves in about a tenth of a scan's time",
    "pruning preview plan.json --out bands.csv",
    add_options,
    run,
)
