"""Command line: python -m pruning_core list | run | scan | preview | ratios | train | study, each
with --json for machines.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pruning_core import studies
from pruning_core.allocation import total_ratio
from pruning_core.cli.choices import AXES, markdown
from pruning_core.cli.options import parser
from pruning_core.criteria import Criterion
from pruning_core.evaluation.thread_pool import kernels
from pruning_core.export.writers import (
    accuracy_dict,
    masks_safetensors,
    report_dict,
    states,
    stored,
    weights_safetensors,
)
from pruning_core.flows import Flow
from pruning_core.granularity import fixed_ratio_reason, granularity
from pruning_core.masks import achieved
from pruning_core.model.device import choose_device
from pruning_core.pipeline import (
    Event,
    dependent_masks_of,
    group_scores_of,
    prune,
)
from pruning_core.plan import Plan
from pruning_core.sensitivity.backends import Backend, dask, in_process, process_pool
from pruning_core.sensitivity.grid import measure, to_csv
from pruning_core.sensitivity.grid_jobs import Grid, GridPoint
from pruning_core.sensitivity.preview import preview_plan
from pruning_core.sensitivity.preview_bands import Band, bands_csv
from pruning_core.sensitivity.ratios import FromSensitivity, Limits
from pruning_core.sensitivity.rules import SENSITIVITY_RULES, TARGET_UNITS
from pruning_core.sensitivity.scan import from_csv
from pruning_core.types import Epoch, Finished, Pruned, PruningError, SensitivityPoint, Tuned
from pruning_core.workspace import open_workspace
from pruning_core.zoo import DATASETS, MODELS, train


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; bad input is one sentence on standard error and exit status 2."""
    options = parser().parse_args(arguments)
    try:
        with kernels():
            return COMMANDS[options.command](options)
    except PruningError as error:
        print(error, file=sys.stderr)
        return 2


def _read(path: Path) -> Plan:
    return Plan.from_json(_text(path, "plan"))


def _text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PruningError(f"The {what} {path} cannot be read: {error}.") from error


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PruningError(f"The folder {path} cannot be made: {error}.") from error
    return path


def _file(path: Path, such: str = "curves.csv") -> Path:
    """The file to write, in a folder that exists: asked before the work, so that an hour of it is
    not lost to a bad name.
    """
    if path.is_dir():
        raise PruningError(f"{path} is a folder: name the file to write, such as {path / such}.")
    _folder(path.parent)
    return path


def _list(options: argparse.Namespace) -> int:
    if options.markdown:
        print(markdown(), end="")
        return 0
    rows = [
        {
            "axis": axis,
            "name": name,
            "label": entry.label,
            "help": entry.help,
            "formula": entry.formula,
            "source": entry.source,
        }
        | (
            {"needs": entry.needs, "passes": entry.passes}
            if isinstance(entry, Criterion | Flow)
            else {}
        )
        for axis, entries in AXES.items()
        for name, entry in entries.items()
    ]
    rows += [
        {
            "axis": "ratios",
            "name": name,
            "label": rule.label,
            "help": rule.help,
            "formula": rule.formula,
            "source": rule.source,
        }
        for name, rule in SENSITIVITY_RULES.items()
    ]
    zoo = [
        {"axis": axis, "name": name, "label": entry.label, "help": entry.help}
        for axis, entries in (("model", MODELS), ("dataset", DATASETS))
        for name, entry in entries.items()
    ]
    if options.json:
        print(json.dumps(rows + zoo, indent=2))
        return 0
    for row in rows + zoo:
        print(f"{row['axis']:12} {row['name']:18} {row['help']}")
        if "formula" in row:
            print(f"{'':31} {row['formula']}  [{row['source']}]")
        if "passes" in row:
            print(f"{'':31} needs {row['needs']}; passes: {row['passes']}")
    return 0


def _run(options: argparse.Namespace) -> int:
    plan = _read(options.plan)
    out = _folder(options.out)
    space = open_workspace(plan.model, plan.dataset)
    done = _drain(prune(plan, space, choose_device(options.device)), quiet=options.json)
    report = report_dict(plan, done)
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (out / "plan.json").write_text(plan.to_json() + "\n", encoding="utf-8")
    silent = dependent_masks_of(plan, space, done.masks)
    (out / "masks.safetensors").write_bytes(
        masks_safetensors(stored(done.masks, space.layers, silent), plan)
    )
    (out / "weights.safetensors").write_bytes(weights_safetensors(done.model))
    if options.json:
        print(json.dumps(report, indent=2))
    return 0


def _drain(events: Iterator[Event], *, quiet: bool) -> Finished:
    """Follows a run to its last event, telling each stage on standard error."""
    for event in events:
        if isinstance(event, Finished):
            for state, found in states(event).items() if not quiet else ():
                print(
                    f"{state:13} {found.top1:.4f}  95% [{found.interval[0]:.4f}, {found.interval[1]:.4f}]  n = {found.n}"
                )
            return event
        if isinstance(event, Pruned):
            print(f"round {event.round} of {event.rounds}: masks chosen", file=sys.stderr)
        elif isinstance(event, Epoch):
            print(
                f"epoch {event.epoch} of {event.epochs}: validation top-1 {event.evaluation.top1:.4f}",
                file=sys.stderr,
            )
    raise PruningError("The run ended before it was finished.")


def _scan(options: argparse.Namespace) -> int:
    plan = _read(options.plan)
    out = _file(options.out)
    points = []
    for found in _scanned(plan, options):
        points.append(found)
        point = found.point
        note = f"  nothing removed: {point.why or 'no whole group goes'}" if point.no_op else ""
        print(
            f"{point.parameter} {point.sparsity:g}: top-1 {point.top1:.4f}{note}", file=sys.stderr
        )
    out.write_text(to_csv(points), encoding="utf-8")
    _tell_slow([found.point for found in points])
    if options.json:
        print(
            json.dumps(
                [{"criterion": found.criterion} | asdict(found.point) for found in points], indent=2
            )
        )
    return 0


def _preview(options: argparse.Namespace) -> int:
    plan = _read(options.plan)
    out = _file(options.out)
    space = open_workspace(plan.model, plan.dataset)
    tied = granularity(plan.granularity).ties_layers and not options.alone
    device = choose_device(options.device)
    bands: tuple[Band, ...] = ()
    for found in preview_plan(
        plan, space, options.grid, tied=tied, share=options.share, device=device
    ):
        bands = found.bands
        out.write_text(bands_csv(bands), encoding="utf-8")
        width = sum(band.interval[1] - band.interval[0] for band in bands) / len(bands)
        used = f"{found.evaluation_share:.1%} of the full scan's evaluations, about {found.work:.1%} of its work"
        print(f"{used}: bands {100 * width:.1f} points wide", file=sys.stderr)
    _tell_slow(bands)
    if options.json:
        print(json.dumps([asdict(band) for band in bands], indent=2))
    return 0


def _tell_slow(points: Sequence[SensitivityPoint | Band]) -> None:
    if (why := next((point.in_full for point in points), None)) is not None:
        print(f"every point took a full forward pass: {why}", file=sys.stderr)


def _ratios(options: argparse.Namespace) -> int:
    plan = _read(options.plan)
    out = _file(options.out, "plan.json")
    of = options.of
    if (settled := fixed_ratio_reason(granularity(plan.granularity))) is not None:
        raise PruningError(settled)
    points = from_csv(
        _text(options.curves, "table"), granularity=plan.granularity, criterion=plan.criterion
    )
    how = FromSensitivity(
        points, options.rule, of, Limits(options.least, options.most, options.multiple)
    )
    space = open_workspace(plan.model, plan.dataset)
    layers, groups = group_scores_of(plan, space)
    ratios = how(layers, groups, options.target)
    made = replace(
        plan, sparsity=round(total_ratio(layers, ratios), 4), overrides=tuple(ratios.items())
    )
    resolved = made.resolve(space)
    gone = achieved(resolved.masks(groups, resolved.ratios(groups)))
    out.write_text(made.to_json() + "\n", encoding="utf-8")
    reached = total_ratio(layers, gone, TARGET_UNITS[of])
    if options.json:
        told = {
            "way": how.rule,
            "of": of,
            "asked": options.target,
            "reached": reached,
            "ratios": ratios,
        }
        print(json.dumps(told, indent=2))
        return 0
    for name, ratio in ratios.items():
        print(f"{ratio:7.2%}  {name}")
    print(
        f"{how.label}: asked for {options.target:.2%} of the {of} of these {len(layers)} layers, reached {reached:.2%}"
    )
    return 0


def _scanned(plan: Plan, options: argparse.Namespace) -> Iterator[GridPoint]:
    """The points, on the backend that the options name."""
    criteria = options.criteria or (plan.criterion,)
    granularities = options.granularities or (plan.granularity,)
    grid = Grid(options.grid, granularities, criteria, tied=not options.alone)
    backends: dict[str, Callable[[Any], Backend]] = {"dask": dask, "workers": process_pool}
    backend = next(
        (
            make(value)
            for name, make in backends.items()
            if (value := getattr(options, name)) is not None
        ),
        in_process(),
    )
    return measure(grid, plan, backend=backend, device=choose_device(options.device))


def _train(options: argparse.Namespace) -> int:
    name, _, dataset = options.name.partition("-")
    last = None
    for event in train(name, options.dataset or dataset or "digits", out=options.out):
        last = event
        if isinstance(event, Epoch):
            print(
                f"epoch {event.epoch} of {event.epochs}: validation top-1 {event.evaluation.top1:.4f}",
                file=sys.stderr,
            )
    if options.json and isinstance(last, Tuned):
        print(
            json.dumps(
                {"best_epoch": last.best_epoch, "validation": accuracy_dict(last.evaluation)},
                indent=2,
            )
        )
    return 0


def _study(options: argparse.Namespace) -> int:
    asked = studies.Study.from_json(_text(options.study, "study"))
    out = _file(options.out) if options.out else None
    space = open_workspace(asked.plan.model, asked.plan.dataset)
    folder = options.folder or studies.study_folder(asked, studies.fingerprint(space))
    for event in studies.run_study(asked, space, folder, choose_device(options.device)):
        if (line := studies.event_line(event)) is not None:
            print(line, file=sys.stderr)
    found = studies.load_results(asked, folder)
    if out is not None:
        out.write_text(studies.to_csv(asked, found), encoding="utf-8")
    rows = studies.summary(found)
    print(
        json.dumps([asdict(row) for row in rows], indent=2)
        if options.json
        else studies.to_text(rows).rstrip()
    )
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "list": _list,
    "run": _run,
    "scan": _scan,
    "preview": _preview,
    "ratios": _ratios,
    "train": _train,
    "study": _study,
}


if __name__ == "__main__":
    sys.exit(main())
