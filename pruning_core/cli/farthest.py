"""`pruning farthest`: the largest sparsity within a loss, the smallest within a size or a time."""

import argparse
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from pruning_core.cli.command import Command
from pruning_core.cli.files import output_file, read_plan
from pruning_core.cli.options import add_json, add_plan, add_repair, add_subject, with_repair
from pruning_core.cli.output import change_words, note, print_json
from pruning_core.compress.byte_target import (
    SIZE_FORMATS,
    WRITTEN,
    Fitted,
    TriedSize,
    dense_bytes,
    fit_bytes,
)
from pruning_core.compress.latency import BATCH
from pruning_core.compress.runtimes import RUNTIMES
from pruning_core.compress.time_target import FittedTime, TimeTarget, TriedTime, fit_time
from pruning_core.plan import Plan
from pruning_core.sensitivity.farthest import Farthest, Tried, farthest
from pruning_core.types import PruningError
from pruning_core.whole_files import write_file
from pruning_core.workspaces import Workspace, open_workspace


def add_options(parser: argparse.ArgumentParser) -> None:
    add_plan(parser)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--lose",
        type=float,
        metavar="AMOUNT",
        help="how much of the task's value may be lost: points of a percentage such as accuracy, "
        "else in the value's own unit",
    )
    target.add_argument(
        "--bytes",
        metavar="SIZE",
        help="instead of a loss: find the smallest sparsity whose stored network takes at most so "
        "many bytes, such as 50000, or such a part of the dense weights, such as 10%%",
    )
    target.add_argument(
        "--time",
        metavar="SHARE",
        help="instead of a loss: find the smallest sparsity whose thinned network takes at most "
        "such a part of the dense network's time, such as 0.4 or 40%%; measured on the CPU, in "
        "interleaved pairs, for plans by filter, channel or head",
    )
    add_target_options(parser)
    parser.add_argument(
        "--sure",
        action="store_true",
        help="the whole 95%% interval of the change, or of the time, must be within the limit",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="plan.json to write, with the sparsity found"
    )
    add_repair(parser)
    add_json(parser)
    add_subject(parser)


def add_target_options(parser: argparse.ArgumentParser) -> None:
    """What --bytes and --time measure."""
    parser.add_argument(
        "--format",
        choices=SIZE_FORMATS,
        default=WRITTEN,
        help="the storage format that --bytes limits; sparse: the file of `pruning store`, which "
        "is written to measure it; the others are computed. Default: sparse",
    )
    parser.add_argument(
        "--runtime",
        choices=tuple(RUNTIMES),
        default="eager",
        help="the runtime that --time measures; default eager",
    )
    parser.add_argument(
        "--batch",
        type=int,
        default=BATCH,
        metavar="SAMPLES",
        help=f"the batch size that --time measures; default {BATCH}",
    )
    parser.add_argument(
        "--round-to",
        type=int,
        metavar="CHANNELS",
        help="with --time: the thinned network keeps more channels, so that its widths are "
        "multiples of this number; 16 is often faster",
    )


def run(options: argparse.Namespace) -> int:
    plan = read_plan(options.plan)
    out = None if options.out is None else output_file(options.out, "plan.json")
    space = open_workspace(plan.model, plan.dataset)
    plan = with_repair(plan, space, options)
    if options.bytes is not None:
        result = _fit(options, plan, space)
    elif options.time is not None:
        result = _fit_time(options, plan, space)
    else:
        result = _within_loss(options, plan, space)
    if out is not None:
        write_file(out, result.plan.to_json())
    if options.json:
        print_json(result.values)
    else:
        print(result.text)
    return 0


@dataclass(frozen=True, eq=False)
class _Result:
    """What a search found: the plan, and the result as JSON values and as text."""

    plan: Plan
    values: dict[str, object]
    text: str


def _within_loss(options: argparse.Namespace, plan: Plan, space: Workspace) -> _Result:
    """Searches for a loss."""
    unit = 0.01 if space.dataset.task.percent else 1.0
    for event in farthest(plan, space, options.lose * unit, sure=options.sure):
        if isinstance(event, Tried):
            note(_line(event))
        else:
            result = event
    return _Result(result.plan, _as_dict(result), _summary(result))


def _fit(options: argparse.Namespace, plan: Plan, space: Workspace) -> _Result:
    """Searches for a file size."""
    limit = byte_limit(options.bytes, dense_bytes(space))
    for event in fit_bytes(plan, space, limit, options.format):
        if isinstance(event, TriedSize):
            within = "fits" if event.within else "too large"
            note(f"{event.sparsity:.0%} removed: {event.bytes:,} bytes, {within}")
        else:
            result = event
    how = "measured" if result.measured else "computed"
    text = (
        f"{result.plan.sparsity:.0%} removed: {result.bytes:,} bytes ({options.format}, {how}), "
        f"at most {limit:,}; {result.dense_bytes / result.bytes:.2f} x smaller than dense; "
        f"{_value_words(result)}, n = {result.change.n}, validation split."
    )
    return _Result(result.plan, _fitted_dict(result, options.format), text)


def _fit_time(options: argparse.Namespace, plan: Plan, space: Workspace) -> _Result:
    """Searches for a time."""
    target = TimeTarget(
        share_of(options.time), options.runtime, options.batch, options.round_to, options.sure
    )
    for event in fit_time(plan, space, target):
        if isinstance(event, TriedTime):
            note(f"{event.sparsity:.0%} removed: {time_words(event)}")
        else:
            result = event
    thinned = "thinned" if target.round_to is None else f"thinned to {target.round_to}s"
    label = f"{RUNTIMES[target.runtime].label}, batch {target.batch}, {thinned}"
    text = (
        f"{result.plan.sparsity:.0%} removed: {time_words(result.chosen)} ({label}, measured), "
        f"at most {target.limit:.0%}; {_value_words(result)}, n = {result.change.n}, "
        "validation split."
    )
    said = "\n".join(filter(None, [text, result.busy]))
    return _Result(result.plan, _fitted_time_dict(result, target), said)


def share_of(text: str) -> float:
    """The part of "0.4" or "40%". Raises PruningError for other text.

    >>> share_of("0.4"), share_of("40%")
    (0.4, 0.4)
    """
    number = text.removesuffix("%")
    try:
        value = float(number)
    except ValueError:
        raise PruningError(
            f"'{text}' is no part of the dense time: give a number between 0 and 1 such as 0.4, or "
            "a percentage such as 40%."
        ) from None
    return value if number == text else value / 100


def time_words(tried: TriedTime) -> str:
    """The measured time at one sparsity, and whether it is within the limit."""
    within = "within the limit" if tried.within else "too slow"
    if tried.timing is None:
        return "no channel can be removed, too slow"
    low, high = tried.interval
    return (
        f"{tried.share:.0%} of the dense time [{low:.0%}, {high:.0%}], n = {tried.timing.n}, "
        f"{within}"
    )


def _fitted_time_dict(result: FittedTime, target: TimeTarget) -> dict[str, object]:
    """The result as JSON values. change and interval: of the value, in its own unit."""
    return {
        "sparsity": result.plan.sparsity,
        **asdict(target),
        "share": result.chosen.share,
        "share_interval_95": list(result.chosen.interval),
        "busy": result.busy,
        "value": result.evaluation.value,
        "change": result.change.value,
        "interval_95": list(result.change.interval),
        "n": result.change.n,
        "machine": asdict(result.machine),
        "tried": [asdict(tried) for tried in result.tried],
    }


def byte_limit(text: str, dense: int) -> int:
    """The bytes of "50000", or of "10%" of the dense weights. Raises PruningError for other text.

    >>> byte_limit("50000", 1000), byte_limit("12.5%", 1000)
    (50000, 125)
    """
    number = text.removesuffix("%")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise PruningError(
            f"'{text}' is no size: give a number of bytes such as 50000, or a part of the dense "
            "weights such as 10%."
        )
    return int(value if number == text else dense * value / 100)


def _fitted_dict(result: Fitted, format_name: str) -> dict[str, object]:
    """The result as JSON values. change and interval: of the value, in its own unit."""
    return {
        "sparsity": result.plan.sparsity,
        "format": format_name,
        "bytes": result.bytes,
        "measured": result.measured,
        "dense_bytes": result.dense_bytes,
        "limit": result.limit,
        "value": result.evaluation.value,
        "change": result.change.value,
        "interval_95": list(result.change.interval),
        "n": result.change.n,
        "tried": [asdict(tried) for tried in result.tried],
    }


def _line(tried: Tried) -> str:
    within = "within the limit" if tried.within else "loses too much"
    return f"{tried.sparsity:.0%} removed: {_value_words(tried)}, {within}"


def _value_words(tried: Tried | Fitted | FittedTime) -> str:
    task = tried.change.task
    value = f"{task.short_label} {task.text(tried.evaluation.value)}"
    return f"{value}, {change_words(tried.change, ' change')}"


def _summary(result: Farthest) -> str:
    measured = f"{len(result.tried)} sparsities measured on {result.dense.n} validation samples"
    if result.best is None:
        return f"No sparsity is within the limit: {measured}."
    share = f"{result.plan.sparsity:.0%} of the prunable weights can be removed"
    return f"{share}: {_value_words(result.best)}; {measured}."


def _as_dict(result: Farthest) -> dict[str, object]:
    """The result as JSON values. change and interval: of the value, in its own unit."""
    return {
        "sparsity": result.plan.sparsity,
        "dense": result.dense.value,
        "n": result.dense.n,
        "tried": [
            {
                "sparsity": tried.sparsity,
                "value": tried.evaluation.value,
                "change": tried.change.value,
                "interval_95": list(tried.change.interval),
                "within": tried.within,
            }
            for tried in result.tried
        ],
    }


COMMAND = Command(
    "farthest",
    "find the largest sparsity within a given loss, or the smallest within a size or a time",
    "pruning farthest plan.json --lose 1 --out farthest.json",
    add_options,
    run,
)
