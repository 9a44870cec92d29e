"""Options that several commands share."""

import argparse
from dataclasses import replace
from pathlib import Path

from pruning_core.backends import Backend, configured_backend, dask, process_pool
from pruning_core.cli.output import note
from pruning_core.history import History, history_root
from pruning_core.pipeline import repair_note
from pruning_core.plan import Plan
from pruning_core.repairs import REPAIRS
from pruning_core.sensitivity.scan import GRID
from pruning_core.workspaces import Workspace


def add_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan", type=Path, help="a plan.json; the Export page writes one")


def add_repair(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--repair",
        choices=tuple(REPAIRS),
        help="instead of the plan's: what changes in the pruned network without training; "
        "pruning list shows what each does",
    )


def with_repair(plan: Plan, space: Workspace, options: argparse.Namespace) -> Plan:
    """The plan with the repair that the options request; notes where it changes nothing."""
    repaired = plan if options.repair is None else replace(plan, repair=options.repair)
    if (sentence := repair_note(repaired, space)) is not None:
        note(sentence)
    return repaired


def add_subject(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--subject",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a TOML file with networks and data of your own (docs/models.md); can be given again",
    )


def add_history(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-history", action="store_true", help="do not keep the result in the run history"
    )


def command_history(options: argparse.Namespace) -> History | None:
    """The history that keeps a command's result; None where the user wants none."""
    root = None if options.no_history else history_root()
    return None if root is None else History(root)


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device",
        help="cuda, mps or cpu; default: PRUNING_EXPLORER_DEVICE, else the first one available",
    )


def add_curve_options(parser: argparse.ArgumentParser) -> None:
    """Options of the commands that measure sensitivity curves."""
    grid = ",".join(f"{sparsity:g}" for sparsity in GRID)
    parser.add_argument(
        "--grid",
        type=numbers,
        default=GRID,
        metavar="NUMBERS",
        help=f"sparsities to measure, separated by commas; default {grid}",
    )
    parser.add_argument(
        "--alone",
        action="store_true",
        help="with whole filters: prune each layer alone, also layers with tied channels",
    )
    add_device(parser)


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Options of the commands whose work other processes may do."""
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="run in N processes in parallel; not with --dask; default: PRUNING_EXPLORER_WORKERS, "
        "a number or the address of a Dask scheduler, else this process",
    )
    place.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="address of a Dask scheduler to run on, such as tcp://127.0.0.1:8786",
    )


def backend_of(options: argparse.Namespace) -> Backend | None:
    """Where the options of `add_workers` have the work done; None: in this process.

    Without them, where `PRUNING_EXPLORER_WORKERS` says.
    """
    if options.dask is not None:
        return dask(options.dask)
    return configured_backend() if options.workers is None else process_pool(options.workers)


def names(text: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(part.strip() for part in text.split(","))


def numbers(text: str) -> tuple[float, ...]:
    """Numbers separated by commas. Raises ArgumentTypeError for other text."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a list of numbers such as 0.2,0.5,0.8"
        ) from error
