"""`pruning run`: prunes a network by a plan and writes report, masks and weights."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pruning_core.cli.command import Command
from pruning_core.cli.files import make_folder, open_noted, read_plan
from pruning_core.cli.options import (
    add_device,
    add_history,
    add_json,
    add_plan,
    add_repair,
    add_subject,
    command_history,
    with_repair,
)
from pruning_core.cli.output import note, note_epoch, print_json
from pruning_core.cli.resuming import carried
from pruning_core.compress.goal_costs import COSTS
from pruning_core.compress.paired_times import Timing
from pruning_core.compress.storage_sizes import computed_sizes
from pruning_core.export import (
    DENSE,
    evaluations_by_state,
    masks_by_parameter,
    masks_safetensors,
    report_dict,
    script_or_reason,
    weights_safetensors,
)
from pruning_core.flows.goal import ending_words, round_words
from pruning_core.granularity import granularity
from pruning_core.history import Keeping, Run, kept_run
from pruning_core.history.unfinished import Carried
from pruning_core.model.device import choose_device
from pruning_core.model.mask_files import read_masks
from pruning_core.pipeline import Event, dependent_masks_of, prune, start_note, tied_note
from pruning_core.plan import Plan
from pruning_core.start_masks import STARTS, ZEROS
from pruning_core.studies import fingerprint
from pruning_core.tasks.classification import CLASSIFICATION
from pruning_core.types import Epoch, Finished, GoalRound, Pruned, PruningError, Resumed
from pruning_core.whole_files import write_files
from pruning_core.workspaces import Workspace

RESULT = (
    "masks.safetensors",
    "weights.safetensors",
    "plan.json",
    "report.json",
    "load_masks.py",
)
"""The files of a result, besides the dense network where the script reads it."""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_plan(parser)
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folder for report.json, plan.json, masks.safetensors, weights.safetensors and "
        "load_masks.py, which replace those of an earlier run",
    )
    parser.add_argument(
        "--start",
        choices=tuple(STARTS),
        help="instead of the plan's; zeros: weights that are zero already count as removed and "
        "stay zero",
    )
    parser.add_argument(
        "--start-masks",
        type=Path,
        metavar="FILE",
        help="continue from the masks in this safetensors, npz or pt file; means --start zeros",
    )
    parser.add_argument(
        "--time",
        action="store_true",
        help="also measure the time of the result, thinned where that is possible, against the "
        "dense network, in PyTorch on the CPU; report.json has it",
    )
    add_repair(parser)
    add_device(parser)
    add_subject(parser)
    add_history(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    plan = read_plan(options.plan)
    folder = make_folder(options.out)
    plan, space = _from_start(plan, open_noted(plan), options)
    plan = with_repair(plan, space, options)
    for sentence in filter(None, (start_note(plan, space), tied_note(plan, space))):
        note(sentence)
    start = Run("run", plan.to_json(), fingerprint(space))
    place = (str(folder.resolve()), str(options.start_masks), str(options.device))
    with carried({"run": start.id}, "run", start.fingerprint, start.plan, *place) as job:
        _carry_out(plan, space, start, folder, job, options)
    return 0


def _carry_out(
    plan: Plan,
    space: Workspace,
    start: Run,
    folder: Path,
    job: Carried | None,
    options: argparse.Namespace,
) -> None:
    """Prunes, writes the files and prints the result."""
    device = choose_device(options.device)
    if job is not None and job.before is not None:
        start = replace(start, id=str(job.before["run"]))
    journal = None if job is None else job.journal
    events = prune(plan, space, device, COSTS, journal)
    kept = kept_run(command_history(options), start, plan, space, events, device=device)
    finished = _last_event(kept)
    chosen = granularity(plan.granularity)
    stored = computed_sizes(finished.model, space.layers, finished.masks, chosen)
    timing = _timing(plan, space, finished) if options.time else None
    report = report_dict(plan, finished, stored, timing)
    _write(folder, plan, space, finished, report)
    if options.json:
        print_json(report)
    else:
        _print_values(finished)
        if timing is not None:
            low, high = timing.interval
            words = f"95% [{low:.2f}, {high:.2f}]  n = {timing.n}  {timing.doubt}".rstrip()
            print(f"dense time / time of the result {timing.speedup:.2f}  {words}")


def _timing(plan: Plan, space: Workspace, finished: Finished) -> Timing:
    from pruning_core.compress.latency import pruned_timing  # not before it is used

    return pruned_timing(plan, space, finished.masks, finished.model)


def _from_start(
    plan: Plan, space: Workspace, options: argparse.Namespace
) -> tuple[Plan, Workspace]:
    """The plan and the workspace with the start that the options request."""
    if options.start_masks is not None:
        masks = read_masks(options.start_masks, space.model, space.layers)
        return replace(plan, start=ZEROS), replace(space, start_masks=masks)
    return (plan if options.start is None else replace(plan, start=options.start)), space


def _last_event(events: Iterator[Event | Keeping]) -> Finished:
    """Reports each step of a run and returns its last event."""
    for event in events:
        if isinstance(event, Finished):
            return event
        if isinstance(event, Pruned):
            note(f"round {event.round} of {event.rounds}: masks chosen")
        elif isinstance(event, Epoch):
            note_epoch(event)
        elif isinstance(event, GoalRound):
            note(round_words(event))
        elif isinstance(event, Resumed):
            note(f"this training continues after epoch {event.epoch} of {event.epochs}:")
        elif isinstance(event, Keeping):
            note(event.words)
    raise PruningError("The run stopped before it was finished.")


def _write(
    folder: Path, plan: Plan, space: Workspace, finished: Finished, report: dict[str, object]
) -> None:
    dependent = dependent_masks_of(plan, space, finished.masks)
    masks = masks_by_parameter(finished.masks, space.layers, dependent)
    files: dict[str, bytes | str] = {
        "masks.safetensors": masks_safetensors(masks, plan),
        "weights.safetensors": weights_safetensors(finished.model),
        "plan.json": plan.to_json() + "\n",
        "report.json": json.dumps(report, indent=2) + "\n",
    }
    script, no_script = script_or_reason(plan, space, tuned=finished.tuned is not None)
    if no_script:
        note(f"load_masks.py is not written. {no_script}")
    else:
        files["load_masks.py"] = script
    if DENSE in script:  # it reads the dense network's answers
        files[DENSE] = weights_safetensors(space.model)
    write_files(folder, files, RESULT)


def _print_values(finished: Finished) -> None:
    if finished.goal:
        print(ending_words(finished.goal))
    for state, measured in evaluations_by_state(finished).items():
        task = measured.task
        low, high = map(task.text, measured.interval)
        label = "" if task.name == CLASSIFICATION.name else f"{task.short_label} "
        print(
            f"{state:13} {label}{task.text(measured.value)}  95% [{low}, {high}]  n = {measured.n}"
        )


COMMAND = Command(
    "run",
    "prune a network by a plan and write report, masks and weights",
    "pruning run plan.json --out results",
    add_options,
    run,
)
