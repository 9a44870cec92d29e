"""`pruning runs`: lists, shows, exports, imports, deletes and tags the runs of the history."""

import argparse
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from pruning_core.cli.command import Command
from pruning_core.cli.files import output_file
from pruning_core.cli.options import add_json
from pruning_core.cli.output import note, print_json
from pruning_core.history import (
    KINDS,
    History,
    Run,
    event_files,
    history_root,
    import_zip,
    to_csv,
    to_zip,
)
from pruning_core.history.run import to_record
from pruning_core.types import PruningError
from pruning_core.whole_files import write_file


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        nargs="?",
        default="list",
        choices=tuple(ACTIONS),
        help="list (default); show; export and import, by --file; delete, and restore to undo it; "
        "tag, by --tags, --note and --pin",
    )
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help="ids of runs, or their beginnings; list and export: all runs if left out",
    )
    parser.add_argument(
        "--file",
        type=Path,
        metavar="FILE",
        help="export: a .zip with all that is kept, a .csv with a row per run, or with --format "
        "tensorboard a folder; import: a .zip",
    )
    parser.add_argument(
        "--format",
        choices=tuple(FORMATS),
        help="export: by default zip, or csv for a file that is named so",
    )
    parser.add_argument("--tags", metavar="NAMES", help="tag: these tags, separated by commas")
    parser.add_argument("--note", metavar="TEXT", help="tag: this note")
    parser.add_argument(
        "--pin", action=argparse.BooleanOptionalAction, help="tag: list the run first, or not"
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    history = open_history()
    ACTIONS[options.action](history, options)
    for sentence in history.reading_notes:
        note(sentence)
    return 0


def open_history() -> History:
    """The history. Raises PruningError where it is switched off."""
    if (root := history_root()) is None:
        raise PruningError("The run history is switched off by PRUNING_EXPLORER_HISTORY=off.")
    return History(root)


def _chosen(history: History, options: argparse.Namespace) -> tuple[Run, ...]:
    """The named runs. Raises PruningError where none is named, or one does not exist."""
    if not options.runs:
        raise PruningError(f"Name at least one run: pruning runs {options.action} RUN.")
    return tuple(history.get(name) for name in options.runs)


def _list(history: History, options: argparse.Namespace) -> None:
    chosen = _chosen(history, options) if options.runs else history.runs()
    runs = sorted(chosen, key=lambda run: not run.pinned)
    if options.json:
        print_json([_json(run) for run in runs])
        return
    for run in runs:
        print(_line(run))
    if not runs:
        note("The history has no run yet.")


def _line(run: Run) -> str:
    """2026-11-28 14:30  a1b2c3d4e5f6  fine-tune  lenet5/digits  filter  top-1 0.9123 (n = 359)"""
    started = datetime.fromtimestamp(run.started).strftime("%Y-%m-%d %H:%M")
    final = run.final
    text = run.task.text
    value = f"{run.task.short_label} {text(final.value)} (n = {final.n:,})" if final else ""
    what = f"{run.model}/{run.dataset}  {run.names.get('granularity', 'fine')}"
    state = "" if run.state == "finished" else f"  {run.state}"
    tags = f"  [{', '.join(run.tags)}]" if run.tags else ""
    tags += "  pinned" if run.pinned else ""
    return f"{started}  {run.id}  {KINDS[run.kind]:16}  {what}  {value}{state}{tags}".rstrip()


def _show(history: History, options: argparse.Namespace) -> None:
    runs = _chosen(history, options)
    if options.json:
        print_json([_json(run) for run in runs])
        return
    for run in runs:
        print(_line(run))
        for state, value in run.values.items():
            ends = f"95% [{run.task.text(value.low)}, {run.task.text(value.high)}]"
            text = run.task.text(value.value)
            print(f"  {state:13} {text}  {ends}  n = {value.n:,}, {value.split} split")
        for name, share in run.costs.items():
            print(f"  {name:13} {share:.1%} of the dense network's")
        facts = {"parent": run.parent, "note": run.note, "why": run.sentence}
        facts |= {name: run.machine.get(name) for name in ("device", "processor", "threads")}
        for name, fact in facts.items():
            if fact:
                print(f"  {name:13} {fact}")


def _json(run: Run) -> dict[str, object]:
    own = {name: getattr(run, name) for name in ("id", "parent", "kind", "state", "started")}
    user = {"note": run.note, "tags": run.tags, "pinned": run.pinned}
    return {**own, **user, **json.loads(to_record(run)), "costs": run.costs}


def _export(history: History, options: argparse.Namespace) -> None:
    path = _named_file(options)
    runs = _chosen(history, options) if options.runs else history.runs()
    FORMATS[options.format or ("csv" if path.suffix == ".csv" else "zip")](history, runs, path)
    note(f"{len(runs)} runs written to {path}")


def _write_csv(history: History, runs: Sequence[Run], path: Path) -> None:
    write_file(output_file(path, "runs.csv"), to_csv(runs))


def _write_zip(history: History, runs: Sequence[Run], path: Path) -> None:
    write_file(output_file(path, "runs.zip"), to_zip(history, runs))


def _write_events(history: History, runs: Sequence[Run], path: Path) -> None:
    for name, content in event_files(history, runs).items():
        write_file(output_file(path / name), content)


def _import(history: History, options: argparse.Namespace) -> None:
    imported = import_zip(history, _named_file(options))
    note(f"{len(imported.new)} new runs; {imported.known} were there already")


def _named_file(options: argparse.Namespace) -> Path:
    if options.file is None:
        raise PruningError(f"Name the file: pruning runs {options.action} --file runs.zip.")
    return Path(options.file)


def _delete(history: History, options: argparse.Namespace) -> None:
    ids = [run.id for run in _chosen(history, options)]
    history.delete(ids)
    words = "1 run" if len(ids) == 1 else f"{len(ids)} runs"
    note(f"{words} deleted; undo: pruning runs restore {' '.join(ids)}")


def _restore(history: History, options: argparse.Namespace) -> None:
    history.restore([run.id for run in _chosen(history, options)])


def _tag(history: History, options: argparse.Namespace) -> None:
    tags: Sequence[str] | None = None if options.tags is None else options.tags.split(",")
    for run in _chosen(history, options):
        history.change(run.id, note=options.note, tags=tags, pinned=options.pin)


FORMATS: dict[str, Callable[[History, Sequence[Run], Path], None]] = {
    "zip": _write_zip,
    "csv": _write_csv,
    "tensorboard": _write_events,
}
ACTIONS: dict[str, Callable[[History, argparse.Namespace], None]] = {
    "list": _list,
    "show": _show,
    "export": _export,
    "import": _import,
    "delete": _delete,
    "restore": _restore,
    "tag": _tag,
}
COMMAND = Command(
    "runs",
    "list, show, export, import, delete and tag the runs of the history",
    "pruning runs export --file runs.zip",
    add_options,
    run,
)
