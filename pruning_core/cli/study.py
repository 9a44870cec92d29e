"""`pruning study`: compares pruning methods at several compressions and seeds."""

import argparse
from dataclasses import replace
from pathlib import Path

from pruning_core import studies
from pruning_core.cli.command import Command
from pruning_core.cli.files import open_noted, output_file, read_text
from pruning_core.cli.options import (
    add_device,
    add_history,
    add_json,
    add_repair,
    add_subject,
    add_workers,
    backend_of,
    command_history,
    with_repair,
)
from pruning_core.cli.output import note, print_json
from pruning_core.history import Keeping, kept_study
from pruning_core.model.device import choose_device
from pruning_core.types import PruningError
from pruning_core.whole_files import write_file


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "study", type=Path, help="a study.json; benchmarks/studies/resnet20.json is an example"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="CSV file to write: a row per run; default: none"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        help="folder of finished runs; default: a folder of this study in the data folder",
    )
    add_repair(parser)
    add_device(parser)
    add_workers(parser)
    add_subject(parser)
    add_history(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    study = studies.Study.from_json(read_text(options.study, "study"))
    out = output_file(options.out) if options.out else None
    space = open_noted(study.plan)
    study = replace(study, plan=with_repair(study.plan, space, options))
    base = studies.fingerprint(space)
    folder = options.folder or studies.study_folder(study, base)
    device = choose_device(options.device)
    backend = backend_of(options)
    events = studies.run_study(study, space, folder, device, backend=backend, by_name=True)
    failed = ""
    for event in kept_study(command_history(options), study, base, space, events, device):
        if isinstance(event, Keeping):
            note(event.words)
            continue
        if isinstance(event, studies.RunFailed):
            failed = event.reason
        if (line := studies.event_line(event)) is not None:
            note(line)
    results = studies.load_results(study, folder, space.dataset.task)
    if failed and not results:
        raise PruningError(f"Every run of the study failed; the last one: {failed}")
    if out is not None:
        write_file(out, studies.to_csv(study, results))
    rows = studies.summary(results)
    if options.json:
        print_json([studies.row_dict(row) for row in rows])
    else:
        print(studies.to_text(rows).rstrip())
    return 0


COMMAND = Command(
    "study",
    "compare methods at several compressions and seeds; an interrupted study continues",
    "pruning study study.json --out runs.csv",
    add_options,
    run,
)
