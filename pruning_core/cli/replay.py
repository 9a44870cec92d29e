"""`pruning replay`: carries a run of the history out again and compares the values."""

import argparse

from pruning_core.cli.command import Command
from pruning_core.cli.options import add_device, add_json, add_subject
from pruning_core.cli.output import note, note_epoch, print_json
from pruning_core.cli.runs import open_history
from pruning_core.history import Replayed, replay
from pruning_core.model.device import choose_device
from pruning_core.types import PruningError


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="the id of a run, or its beginning")
    add_device(parser)
    add_subject(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    history = open_history()
    kept = history.get(options.run)
    ended: Replayed | None = None
    for event in replay(kept, history, choose_device(options.device)):
        if isinstance(event, Replayed):
            ended = event
        else:
            note_epoch(event)
    if ended is None:
        raise PruningError("The replay stopped before it was finished.")
    for difference in ended.differences:
        note(difference)
    if options.json:
        values = {"equal": ended.equal, "then": ended.then, "now": ended.now}
        print_json({**values, "differences": ended.differences})
    else:
        for state, value in ended.now.items():
            before = ended.then.get(state)
            words = "equal" if value == before else f"{before!r} then"
            print(f"{state:13} {kept.task.text(value)}  {words}")
    return 0 if ended.equal else 1


COMMAND = Command(
    "replay",
    "carry a run of the history out again; the exit status is 1 where a value differs",
    "pruning replay a1b2c3",
    add_options,
    run,
)
