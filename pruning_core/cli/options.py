"""What the command line may be asked."""

import argparse
from pathlib import Path

from pruning_core.sensitivity.ratios import FromSensitivity, Limits
from pruning_core.sensitivity.rules import SENSITIVITY_RULES
from pruning_core.sensitivity.scan import GRID


def parser() -> argparse.ArgumentParser:
    """What every command may be asked; `command` in what it reads is the command's name."""
    found = argparse.ArgumentParser(
        prog="python -m pruning_core", description="Prune neural networks without a browser."
    )
    commands = found.add_subparsers(
        dest="command",
        required=True,
        metavar="list | run | scan | preview | ratios | train | study",
    )
    json_flag = argparse.ArgumentParser(add_help=False)
    json_flag.add_argument("--json", action="store_true", help="print the result as JSON")

    command = commands.add_parser(
        "list", parents=[json_flag], help="every choice on every axis, with formula and source"
    )
    command.add_argument(
        "--markdown", action="store_true", help="every choice, as in docs/choices.md"
    )

    command = commands.add_parser(
        "run", parents=[json_flag], help="replay a plan: report, masks, weights"
    )
    command.add_argument("plan", type=Path, help="a plan.json, as the Export page gives it")
    command.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder for report.json, plan.json, masks and weights",
    )
    command.add_argument("--device", help="cuda, mps or cpu; chosen by itself if left out")

    _scan_options(
        commands.add_parser(
            "scan", parents=[json_flag], help="each layer alone over a grid; a tidy CSV"
        )
    )

    _preview_options(
        commands.add_parser(
            "preview", parents=[json_flag], help="a scan's curves in about a tenth of the time"
        )
    )

    _ratios_options(
        commands.add_parser(
            "ratios", parents=[json_flag], help="a scan's curves to ratios: a plan for a target"
        )
    )

    command = commands.add_parser(
        "train", parents=[json_flag], help="train a network of the zoo by its published recipe"
    )
    command.add_argument("name", help="resnet20-digits, or an architecture with --dataset")
    command.add_argument("--dataset", help="digits if left out")
    command.add_argument(
        "--out", type=Path, help="folder for checkpoint and card; your own if left out"
    )

    command = commands.add_parser(
        "study", parents=[json_flag], help="methods compared over compressions and seeds; resumable"
    )
    command.add_argument("study", type=Path, help="a study.json, as benchmarks/studies has them")
    command.add_argument("--out", type=Path, help="a CSV file to write, one row per run")
    command.add_argument(
        "--folder",
        type=Path,
        help="where finished runs are kept; a folder beside the data if left out",
    )
    command.add_argument("--device", help="cuda, mps or cpu; chosen by itself if left out")
    return found


def _curve_options(command: argparse.ArgumentParser, out: str) -> None:
    """What a scan and a preview are both asked."""
    command.add_argument("plan", type=Path, help="a plan.json, as the Export page gives it")
    command.add_argument("--out", type=Path, required=True, help=out)
    command.add_argument("--grid", type=_grid, default=GRID, help="sparsities, as in 0.2,0.5,0.8")
    command.add_argument("--device", help="cuda, mps or cpu; chosen by itself if left out")
    command.add_argument(
        "--alone",
        action="store_true",
        help="cut filters of each layer alone, even where layers are tied together",
    )


def _scan_options(command: argparse.ArgumentParser) -> None:
    _curve_options(command, "the CSV file to write")
    command.add_argument(
        "--criteria", type=_names, help="criteria in place of the plan's, as in magnitude_l1,taylor"
    )
    command.add_argument(
        "--granularities",
        type=_names,
        help="granularities in place of the plan's, as in fine,filter",
    )
    where = command.add_mutually_exclusive_group()
    where.add_argument("--workers", type=int, help="that many processes side by side")
    where.add_argument(
        "--dask", metavar="ADDRESS", help="a Dask scheduler's address, as in tcp://127.0.0.1:8786"
    )


def _preview_options(command: argparse.ArgumentParser) -> None:
    _curve_options(command, "the CSV file to write, anew after every round")
    command.add_argument(
        "--share",
        type=float,
        default=0.1,
        help="share of the full scan's evaluations and work; default 0.1",
    )


def _ratios_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("plan", type=Path, help="the plan.json that was scanned")
    command.add_argument("curves", type=Path, help="the scan's CSV file")
    command.add_argument(
        "--target",
        type=float,
        required=True,
        help="the share to remove from all scanned layers, as in 0.6",
    )
    command.add_argument(
        "--rule",
        "--way",
        dest="rule",
        default=FromSensitivity.rule,
        help=f"one of {', '.join(SENSITIVITY_RULES)}; default %(default)s",
    )
    command.add_argument(
        "--of",
        default=FromSensitivity.target_unit,
        help="what it is a share of: weights (default) or macs",
    )
    command.add_argument(
        "--least",
        type=float,
        default=Limits.minimum,
        help="least ratio of a layer; default %(default)s",
    )
    command.add_argument(
        "--most",
        type=float,
        default=Limits.maximum,
        help="most ratio of a layer; default %(default)s",
    )
    command.add_argument(
        "--multiple",
        type=int,
        default=Limits.multiple,
        help="keep a multiple of so many groups; default 1",
    )
    command.add_argument(
        "--out", type=Path, required=True, help="the plan.json to write, which run replays"
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


def _grid(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no list of numbers such as 0.2,0.5,0.8"
        ) from error
