"""The command line `pruning`: reads the arguments and runs one command."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress

from pruning_core.cli import (
    farthest,
    preview,
    ratios,
    replay,
    run,
    runs,
    scan,
    search,
    store,
    study,
    thin,
    time,
    train,
)
from pruning_core.cli import list as list_command
from pruning_core.cli.command import Command
from pruning_core.evaluation.thread_pool import configured_kernel_threads
from pruning_core.subjects import subject_files
from pruning_core.types import PruningError

_ALL = (
    list_command.COMMAND,
    run.COMMAND,
    scan.COMMAND,
    preview.COMMAND,
    ratios.COMMAND,
    farthest.COMMAND,
    search.COMMAND,
    store.COMMAND,
    thin.COMMAND,
    time.COMMAND,
    train.COMMAND,
    study.COMMAND,
    runs.COMMAND,
    replay.COMMAND,
)
COMMANDS: dict[str, Command] = {command.name: command for command in _ALL}
"""Name -> command, in the order of the help."""
DESCRIPTION = "Prune neural networks from the command line."


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status.

    Bad input and a full disk give one sentence on standard error and the exit status 2.
    """
    options = parser().parse_args(arguments)
    try:
        with configured_kernel_threads(), subject_files(getattr(options, "subject", ())):
            status = COMMANDS[options.command].run(options)
        sys.stdout.flush()
        return status
    except PruningError as error:
        print(error, file=sys.stderr)
    except OSError as error:  # of the standard output, or of a temporary file
        where = error.filename or "The standard output"
        print(f"{where} cannot be read or written: {error.strerror or error}.", file=sys.stderr)
        _close_broken_output()
    return 2


def _close_broken_output() -> None:
    """Closes the standard output where it cannot be written, so that Python does not try again."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            sys.stdout.close()


def parser() -> argparse.ArgumentParser:
    """The parser of all commands. `command` in its result is the name of the command."""
    top = argparse.ArgumentParser(prog="pruning", description=DESCRIPTION)
    subparsers = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS.values():
        command.add_options(
            subparsers.add_parser(
                command.name,
                help=command.help,
                description=command.description,
                epilog=f"Example: {command.example}",
            )
        )
    return top
