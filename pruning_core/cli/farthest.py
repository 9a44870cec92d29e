"""`pruning farthest`: finds the largest sparsity that loses at most so much."""

import argparse
from pathlib import Path

from pruning_core.cli.command import Command
from pruning_core.cli.files import output_file, read_plan
from pruning_core.cli.options import add_json, add_plan, add_repair, add_subject, with_repair
from pruning_core.cli.output import note, print_json
from pruning_core.sensitivity.farthest import Farthest, Tried, farthest
from pruning_core.workspaces import open_workspace


def add_options(parser: argparse.ArgumentParser) -> None:
    add_plan(parser)
    parser.add_argument(
        "--lose",
        type=float,
        required=True,
        metavar="AMOUNT",
        help="how much of the task's value may be lost: points of a percentage such as accuracy, "
        "else in the value's own unit",
    )
    parser.add_argument(
        "--sure",
        action="store_true",
        help="the whole 95%% interval of the change must be within the limit",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="plan.json to write, with the sparsity found"
    )
    add_repair(parser)
    add_json(parser)
    add_subject(parser)


def run(options: argparse.Namespace) -> int:
    plan = read_plan(options.plan)
    out = None if options.out is None else output_file(options.out, "plan.json")
    space = open_workspace(plan.model, plan.dataset)
    plan = with_repair(plan, space, options)
    scale = 0.01 if space.dataset.task.percent else 1.0
    for event in farthest(plan, space, options.lose * scale, sure=options.sure):
        if isinstance(event, Tried):
            note(_line(event, scale))
        else:
            found = event
    if out is not None:
        out.write_text(found.plan.to_json(), encoding="utf-8")
    if options.json:
        print_json(_as_dict(found))
    else:
        print(_summary(found, scale))
    return 0


def _line(tried: Tried, scale: float) -> str:
    within = "within the limit" if tried.within else "loses too much"
    return f"{tried.sparsity:.0%} removed: {_change_words(tried, scale)}, {within}"


def _change_words(tried: Tried, scale: float) -> str:
    task = tried.change.task
    low, high = (end / scale for end in tried.change.interval)
    unit = "points" if task.percent else "change"
    return (
        f"{task.short_label} {task.text(tried.evaluation.value)}, "
        f"{tried.change.value / scale:+.2f} {unit}, 95% [{low:+.2f}, {high:+.2f}]"
    )


def _summary(found: Farthest, scale: float) -> str:
    measured = f"{len(found.tried)} sparsities measured on {found.dense.n} validation samples"
    if found.best is None:
        return f"No sparsity is within the limit: {measured}."
    return (
        f"{found.plan.sparsity:.0%} can be removed: {_change_words(found.best, scale)}; {measured}."
    )


def _as_dict(found: Farthest) -> dict[str, object]:
    """The result as JSON values. change and interval: of the value, in its own unit."""
    return {
        "sparsity": found.plan.sparsity,
        "dense": found.dense.value,
        "n": found.dense.n,
        "tried": [
            {
                "sparsity": tried.sparsity,
                "value": tried.evaluation.value,
                "change": tried.change.value,
                "interval_95": list(tried.change.interval),
                "within": tried.within,
            }
            for tried in found.tried
        ],
    }


COMMAND = Command(
    "farthest",
    "find the largest sparsity that loses at most so much",
    "pruning farthest plan.json --lose 1 --out farthest.json",
    add_options,
    run,
)
