"""`pruning time`: measures how long the pruned network takes, against the dense one."""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import torch
from torch import nn

from pruning_core.cli.command import Command
from pruning_core.cli.files import make_folder, open_noted, read_plan
from pruning_core.cli.options import add_device, add_json, add_plan, add_subject, names
from pruning_core.cli.output import note, print_json
from pruning_core.compress.advisor import LOADER, Advice, LayerAdvice, advise
from pruning_core.compress.forms import ROUNDED, THIN, forms_of
from pruning_core.compress.latency import (
    BATCHES,
    Latency,
    Measuring,
    conclusion,
    latency_dict,
    time_forms,
    verdict_words,
)
from pruning_core.compress.paired_times import BUDGET
from pruning_core.compress.runtimes import RUNTIMES
from pruning_core.model.device import choose_device
from pruning_core.pipeline import choose_masks, pruned_copy
from pruning_core.types import Inputs, PruningError
from pruning_core.whole_files import write_files
from pruning_core.workspaces import batch_of

RESULT = ("latency.json", "mixed.pt", "load_mixed.py")
"""The files of a result."""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_plan(parser)
    parser.add_argument(
        "--batch",
        type=int,
        action="append",
        metavar="SAMPLES",
        help="batch size; can be given again; default 1 and 32",
    )
    parser.add_argument(
        "--runtimes",
        type=names,
        default=tuple(RUNTIMES),
        metavar="NAMES",
        help=f"separated by commas; default {','.join(RUNTIMES)}",
    )
    add_seconds(parser)
    parser.add_argument(
        "--round-to",
        type=int,
        action="append",
        metavar="CHANNELS",
        help="where whole filters, channels or heads are removed: also measure a thinned network "
        "whose widths are multiples of this number; can be given again; default 16",
    )
    parser.add_argument(
        "--advise",
        action="store_true",
        help="choose dense, thinned, CSR or BSR for each layer by measurement, at the largest "
        "batch",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="folder for latency.json; with --advise also mixed.pt and load_mixed.py",
    )
    add_device(parser)
    add_subject(parser)
    add_json(parser)


def add_seconds(parser: argparse.ArgumentParser) -> None:
    """The time budget of a measurement."""
    parser.add_argument(
        "--seconds",
        type=float,
        default=BUDGET,
        metavar="NUMBER",
        help=f"time for one runtime at one batch size; default {BUDGET:g}",
    )


def run(options: argparse.Namespace) -> int:
    plan = read_plan(options.plan)
    folder = None if options.out is None else make_folder(options.out)
    space = open_noted(plan)
    batches = tuple(options.batch or BATCHES)
    device = choose_device(options.device or "cpu")
    _, masks = choose_masks(plan, space)
    masked = pruned_copy(plan, space, masks)
    forms = forms_of(plan, space, masks, options.round_to or ROUNDED)
    given = {size: batch_of(space, size) for size in batches}
    latency = _measured(
        time_forms(
            space.model, masked, given, forms, options.runtimes, device, budget=options.seconds
        )
    )
    advice = None
    if options.advise:
        thinned = forms.thinned.get(THIN)
        narrow = None if thinned is None else thinned.module
        advice = _advice(space.model, masked, narrow, given[max(batches)], options.seconds)
    result = latency_dict(latency) | ({} if advice is None else {"advice": _advice_dict(advice)})
    if folder is not None:
        files: dict[str, bytes | str] = {"latency.json": json.dumps(result, indent=2) + "\n"}
        if advice is not None:
            mixed = BytesIO()
            torch.save(advice.model.state_dict(), mixed)
            files |= {"mixed.pt": mixed.getvalue(), "load_mixed.py": LOADER}
        write_files(folder, files, RESULT)
    if options.json:
        print_json(result)
    else:
        print("\n".join([*_lines(latency), *([] if advice is None else _advice_lines(advice))]))
    return 0


def _measured(events: Iterator[Measuring | Latency]) -> Latency:
    """Reports each stage, and returns the last event."""
    stage = ""
    for event in events:
        if isinstance(event, Latency):
            return event
        if event.stage != stage:
            stage = event.stage
            note(f"{event.share:4.0%} {stage}")
    raise PruningError("The measurement ended without a result.")


def _advice(
    dense: nn.Module, masked: nn.Module, thinned: nn.Module | None, x: Inputs, seconds: float
) -> Advice:
    for event in advise(dense, masked, x, thinned=thinned, budget=seconds):
        if isinstance(event, Advice):
            return event
        note(_layer_line(event))
    raise PruningError("The measurement ended without a result.")


def _lines(latency: Latency) -> list[str]:
    """A table: one line per form, with what it says; then what was left out."""
    lines = []
    for times in latency.times:
        for timing in times.timings:
            low, high = (1e3 * end for end in timing.quartiles)
            name = timing.variant
            words = "" if name == "dense" else verdict_words(timing, times.errors[name])
            lines.append(
                f"{RUNTIMES[times.runtime].label:13} batch {times.batch:<4} {timing.label:18} "
                f"{1e3 * timing.seconds:9.3f} ms [{low:.3f}, {high:.3f}]  {words}".rstrip()
            )
    at = latency.machine
    load = "" if at.load is None else f", load {at.load:.1f}"
    machine = f"{at.processor}, {at.device}, {at.threads} of {at.cores} cores{load}."
    return [
        *lines,
        *filter(None, [conclusion(latency)]),
        *latency.notes,
        *latency.left_out,
        machine,
        *filter(None, [latency.busy]),
    ]


def _layer_line(layer: LayerAdvice) -> str:
    tried = ", ".join(f"{t.label} {t.speedup:.2f}x" for t in layer.timings[1:])
    shape = " x ".join(map(str, layer.shape))
    return f"{layer.layer} {shape}, {layer.kept:.0%} kept: {layer.chosen} ({tried or layer.why})"


def _advice_lines(advice: Advice) -> Sequence[str]:
    lines = [f"  {timing.label}: {verdict_words(timing)}" for timing in advice.timings[1:]]
    if advice.why is not None:
        return ["Advice: " + advice.why, *lines]
    return [
        f"Advice: {advice.chosen}, {advice.speedup:.2f}x as fast as dense; "
        f"outputs within {advice.error:.0e} of the masked network's.",
        *lines,
    ]


def _advice_dict(advice: Advice) -> dict[str, object]:
    return {
        "chosen": advice.chosen,
        "speedup": advice.speedup,
        "error": advice.error,
        "why": advice.why,
        "layers": [asdict(layer) for layer in advice.layers],
        "timings": [asdict(timing) for timing in advice.timings],
    }


COMMAND = Command(
    "time",
    "measure how long the pruned network takes, against the dense one",
    "pruning time plan.json --batch 1 --batch 32 --out times",
    add_options,
    run,
)
