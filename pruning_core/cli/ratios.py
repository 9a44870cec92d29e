"""`pruning ratios`: makes a plan for a target from the sensitivity curves of a scan."""

import argparse
from dataclasses import replace
from pathlib import Path

from pruning_core.allocation import total_ratio
from pruning_core.cli.command import Command
from pruning_core.cli.files import open_noted, output_file, read_plan, read_text
from pruning_core.cli.options import add_json, add_subject
from pruning_core.cli.output import print_json
from pruning_core.granularity import fixed_ratio_reason, granularity
from pruning_core.masks import achieved
from pruning_core.pipeline import group_scores_of
from pruning_core.plan import Plan
from pruning_core.sensitivity.corrected import CORRECTED, corrected, start_label
from pruning_core.sensitivity.ratios import FromSensitivity, Limits
from pruning_core.sensitivity.rules import SENSITIVITY_RULES, TARGET_UNITS
from pruning_core.sensitivity.scan import from_csv
from pruning_core.types import GroupScores, PruningError, Ratios, SensitivityPoint
from pruning_core.whole_files import write_file
from pruning_core.workspaces import Workspace


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan", type=Path, help="the plan.json of the scan")
    parser.add_argument("curves", type=Path, help="the CSV file of the scan")
    parser.add_argument(
        "--target",
        type=float,
        required=True,
        metavar="FRACTION",
        help="fraction to remove from all scanned layers together, such as 0.6",
    )
    parser.add_argument(
        "--of",
        default=FromSensitivity.target_unit,
        metavar="COUNT",
        help=f"what the target is a fraction of: {' or '.join(TARGET_UNITS)}; "
        f"default {FromSensitivity.target_unit}",
    )
    parser.add_argument(
        "--rule",
        "--way",
        dest="rule",
        default=FromSensitivity.rule,
        metavar="RULE",
        help=f"rule from curves to ratios: {', '.join(SENSITIVITY_RULES)}; or {CORRECTED}: "
        "measures the whole plan with every rule, then moves single ratios while its loss falls; "
        f"default {FromSensitivity.rule}",
    )
    _add_limits(parser)
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="plan.json to write; `pruning run` takes it",
    )
    add_subject(parser)
    add_json(parser)


def _add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--least",
        type=float,
        default=Limits.minimum,
        metavar="RATIO",
        help=f"smallest ratio of a layer; default {Limits.minimum:g}",
    )
    parser.add_argument(
        "--most",
        type=float,
        default=Limits.maximum,
        metavar="RATIO",
        help=f"largest ratio of a layer; default {Limits.maximum:g}",
    )
    parser.add_argument(
        "--multiple",
        type=int,
        default=Limits.multiple,
        metavar="N",
        help=f"keep a multiple of N groups in each scope; default {Limits.multiple}",
    )


def run(options: argparse.Namespace) -> int:
    plan = read_plan(options.plan)
    out = output_file(options.out, "plan.json")
    if (reason := fixed_ratio_reason(granularity(plan.granularity))) is not None:
        raise PruningError(reason)
    space = open_noted(plan)
    layers, groups = group_scores_of(plan, space)
    if options.rule == CORRECTED:
        label, ratios, measured = _corrected(plan, space, options)
    else:
        allocation = _allocation(plan, options)
        label = allocation.label
        ratios = allocation(layers, groups, options.target)
        measured = {}
    sparsity = round(total_ratio(layers, ratios), 4)
    new_plan = replace(plan, sparsity=sparsity, overrides=tuple(ratios.items()))
    reached = total_ratio(layers, _removed(new_plan, space, groups), TARGET_UNITS[options.of])
    write_file(out, new_plan.to_json() + "\n")
    if options.json:
        print_json(
            {
                "way": options.rule,
                "of": options.of,
                "asked": options.target,
                "reached": reached,
                "ratios": ratios,
            }
            | ({"measured": measured} if measured else {})
        )
        return 0
    for name, value in measured.items():
        print(f"{value:10.4f}  {space.dataset.task.value_label}, measured: {start_label(name)}")
    for name, ratio in ratios.items():
        print(f"{ratio:7.2%}  {name}")
    target = f"target {options.target:.2%} of the {options.of} of these {len(layers)} layers"
    print(f"{label}: {target}, reached {reached:.2%}")
    return 0


def _points(plan: Plan, options: argparse.Namespace) -> tuple[SensitivityPoint, ...]:
    text = read_text(options.curves, "table")
    return tuple(from_csv(text, granularity=plan.granularity, criterion=plan.criterion))


def _corrected(
    plan: Plan, space: Workspace, options: argparse.Namespace
) -> tuple[str, Ratios, dict[str, float]]:
    """Label, ratios, and the value of the whole plan with each rule on the probe."""
    limits = Limits(options.least, options.most, options.multiple)
    if options.of != FromSensitivity.target_unit or limits != Limits():
        raise PruningError(
            f"The rule {CORRECTED} counts {FromSensitivity.target_unit} and has no limits: leave "
            "out --of, --least, --most and --multiple, or choose another rule."
        )
    asked = replace(plan, sparsity=options.target, overrides=())
    measured = {}
    for joint in corrected(asked, space, _points(plan, options)):
        measured[joint.name] = joint.evaluation.value
        best = joint
    return start_label(CORRECTED), best.ratios, measured


def _allocation(plan: Plan, options: argparse.Namespace) -> FromSensitivity:
    limits = Limits(options.least, options.most, options.multiple)
    return FromSensitivity(_points(plan, options), options.rule, options.of, limits)


def _removed(plan: Plan, space: Workspace, groups: GroupScores) -> Ratios:
    """The ratios that the plan's masks reach in whole groups."""
    resolved = plan.resolve(space)
    return achieved(resolved.masks(groups, resolved.ratios(groups)))


COMMAND = Command(
    "ratios",
    "make a plan for a target from the curves of a scan",
    "pruning ratios plan.json curves.csv --target 0.6 --out new_plan.json",
    add_options,
    run,
)
