"""`pruning thin`: writes the pruned network without its removed channels and heads."""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from torch import nn

from pruning_core.cli.command import Command
from pruning_core.cli.files import make_folder, open_noted, read_plan
from pruning_core.cli.options import add_json, add_plan, add_subject
from pruning_core.cli.output import note, print_json
from pruning_core.export import evaluation_dict
from pruning_core.export.model_card import arrow
from pruning_core.export.named_lines import DENSE
from pruning_core.export.thinned import PURPOSE, Making, ThinnedExport, export_thinned
from pruning_core.model.mask_files import read_masks
from pruning_core.model.model_io import copy_model
from pruning_core.plan import Plan
from pruning_core.subjects.weights import load_weights
from pruning_core.types import Masks, PruningError
from pruning_core.whole_files import write_files
from pruning_core.workspaces import Workspace


def add_options(parser: argparse.ArgumentParser) -> None:
    add_plan(parser)
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folder for thinned.safetensors, kept.json, build_thinned.py, thinned.toml, "
        "thinned.pt2, thinned.onnx and MODEL_CARD.md",
    )
    parser.add_argument(
        "--run",
        type=Path,
        metavar="FOLDER",
        dest="of_run",
        help="thin the network that `pruning run --out FOLDER` wrote, with its masks and weights; "
        "default: the base network with the plan's masks",
    )
    parser.add_argument(
        "--round-to",
        type=int,
        metavar="N",
        help="keep more channels, so that their numbers are multiples of N, such as 8",
    )
    parser.add_argument(
        "--accept-norms",
        action="store_true",
        help="norms over channels average over the kept ones alone, although the plan's do not: "
        "the outputs change a little",
    )
    add_json(parser)
    add_subject(parser)


def run(options: argparse.Namespace) -> int:
    plan = read_plan(options.plan)
    folder = make_folder(options.out)
    space = open_noted(plan)
    given = () if options.of_run is None else _of_run(options.of_run, plan, space)
    made = _last(
        export_thinned(
            plan, space, *given, round_to=options.round_to, accept_norms=options.accept_norms
        )
    )
    write_files(folder, made.files, PURPOSE.keys() - {DENSE})  # a run's script may read it
    for sentence in (*made.thinned.refused, *made.thinned.notes, *made.left_out):
        note(sentence)
    if options.json:
        print_json(_as_dict(made))
    else:
        print("\n".join(_lines(made)))
    return 0


def _of_run(folder: Path, plan: Plan, space: Workspace) -> tuple[Masks, nn.Module]:
    """Masks and network of a finished run. Raises PruningError where its files do not fit."""
    files = [folder / "masks.safetensors", folder / "weights.safetensors"]
    for missing in (path for path in files if not path.is_file()):
        raise PruningError(
            f"{folder} has no {missing.name}: name a folder that `pruning run --out` wrote."
        )
    model = copy_model(plan.resolve(space).space.model)
    load_weights(model, files[1])
    return read_masks(files[0], space.model, space.layers), model


def _last(events: Iterator[Making | ThinnedExport]) -> ThinnedExport:
    """Reports each step, and returns the last event."""
    for event in events:
        if isinstance(event, ThinnedExport):
            return event
        note(f"{event.share:4.0%} {event.stage}")
    raise PruningError("The network was not thinned.")


def _lines(made: ThinnedExport) -> list[str]:
    thinned = made.thinned
    lines = [
        f"{own.layer:40} outputs {arrow(own.out):14} inputs {arrow(own.into)}"
        for own in thinned.widths
        if own.changed
    ]
    lines += [_counts("parameters", thinned.parameters), _counts("multiply-adds", thinned.macs)]
    if made.unrounded is not None:
        parameters = made.unrounded.parameters[1]
        macs = made.unrounded.macs[1]
        lines.append(f"without rounding {parameters:,} parameters, {macs:,} multiply-adds")
    for name, own in made.measured.items():
        low, high = map(own.task.text, own.interval)
        value = f"{own.task.short_label} {own.task.text(own.value)}"
        lines.append(f"{name:20} {value}  95% [{low}, {high}]  n = {own.n}")
    lines.append(f"relative difference from the masked network {thinned.error:.1e}")
    return lines


def _counts(name: str, pair: tuple[int, int]) -> str:
    before, after = pair
    return f"{name:13} {before:,} -> {after:,}  {1 - after / before if before else 0:.1%} less"


def _as_dict(made: ThinnedExport) -> dict[str, object]:
    thinned = made.thinned
    return {
        "widths": [asdict(width) for width in thinned.widths],
        "parameters": list(thinned.parameters),
        "macs": list(thinned.macs),
        "relative_error": thinned.error,
        "measured": {
            name: evaluation_dict(evaluation) for name, evaluation in made.measured.items()
        },
        "refused": list(thinned.refused),
        "notes": list(thinned.notes),
        "files": list(made.files),
        "left_out": list(made.left_out),
    }


COMMAND = Command(
    "thin",
    "write the pruned network without its removed channels and heads",
    "pruning thin plan.json --out thinned --round-to 8",
    add_options,
    run,
)
