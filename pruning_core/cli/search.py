"""`pruning search`: the ratios of a plan that keep the most of the task's value within a budget."""

import argparse
from pathlib import Path

from pruning_core.cli.command import Command
from pruning_core.cli.files import make_folder, open_noted, read_plan
from pruning_core.cli.options import (
    add_history,
    add_json,
    add_plan,
    add_repair,
    add_subject,
    add_workers,
    backend_of,
    command_history,
)
from pruning_core.cli.output import note, print_json
from pruning_core.cli.resuming import carried
from pruning_core.history import Keeping, kept_search
from pruning_core.pipeline import repair_note
from pruning_core.plan import Plan
from pruning_core.search.candidates import Candidate
from pruning_core.search.plan_space import BUDGETS
from pruning_core.search.run import (
    SearchResult,
    SearchSettings,
    asked_repair,
    search,
    write_candidates,
)
from pruning_core.studies import fingerprint
from pruning_core.tasks.task import Task
from pruning_core.types import PruningError
from pruning_core.whole_files import write_file
from pruning_core.workers import WorkerLost
from pruning_core.workspaces import Workspace

WRITE_EVERY = 20
"""Candidates after which the table is written again."""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_plan(parser)
    _add_settings(parser, SearchSettings())
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for plan.json, candidates.csv and the finished evaluations; a search that "
        "was stopped continues with them",
    )
    add_repair(parser)
    add_workers(parser)
    add_json(parser)
    add_history(parser)
    add_subject(parser)


def _add_settings(parser: argparse.ArgumentParser, usual: SearchSettings) -> None:
    parser.add_argument(
        "--method",
        default=usual.method,
        help="a search method of `pruning list`, with settings after a colon; default: eagleeye",
    )
    parser.add_argument(
        "--budget",
        default=f"{usual.budget}={usual.keep}",
        metavar="COST=SHARE",
        help=f"what may remain of the dense network: {', '.join(BUDGETS)}; default: macs=0.5; "
        "none: no budget, for methods that look for trade-offs",
    )
    for name in ("evaluations", "seed"):
        default = getattr(usual, name)
        parser.add_argument(
            f"--{name}", type=int, default=default, metavar="N", help=f"default {default}"
        )
    for name in ("least", "most"):
        parser.add_argument(
            f"--{name}",
            type=float,
            default=getattr(usual, name),
            metavar="RATIO",
            help=f"the {name} of a layer that may be removed; default {getattr(usual, name):g}",
        )
    parser.add_argument(
        "--round-to",
        type=int,
        default=usual.round_to,
        metavar="N",
        help="widths are multiples of N, such as 8",
    )


def run(options: argparse.Namespace) -> int:
    plan = read_plan(options.plan)
    settings = _settings(options)
    folder = make_folder(options.out)
    space = open_noted(plan)
    if (sentence := repair_note(asked_repair(plan, settings), space)) is not None:
        note(sentence)
    base = fingerprint(space)
    with carried({}, "search", base, plan.to_json(), _key(settings), str(folder.resolve())):
        outcome, candidates = _searched(plan, space, settings, base, folder, options)
        write_candidates(candidates, folder / "candidates.csv")
        write_file(folder / "plan.json", outcome.plan.to_json())
    if options.json:
        print_json(_as_dict(outcome))
    else:
        print(_summary(outcome, len(candidates), settings, space.dataset.task))
    return 0


def _key(settings: SearchSettings) -> str:
    """The settings as text, which a search of before that was killed has too.

    The class had the name Settings then; another name of it does not change the text.
    """
    return f"Settings{repr(settings).removeprefix(type(settings).__name__)}"


def _searched(
    plan: Plan,
    space: Workspace,
    settings: SearchSettings,
    base: str,
    folder: Path,
    options: argparse.Namespace,
) -> tuple[SearchResult, list[Candidate]]:
    """What was found, and all candidates. base: the fingerprint."""
    candidates: list[Candidate] = []
    events = search(plan, space, settings, folder, backend=backend_of(options), by_name=True)
    for event in kept_search(command_history(options), plan, settings, base, space, events):
        if isinstance(event, Keeping):
            note(event.words)
            continue
        if isinstance(event, SearchResult):
            outcome = event
            continue
        if isinstance(event, WorkerLost):
            note(event.sentence)
            continue
        candidates.append(event)
        if event.best:
            note(_line(event, settings, space.dataset.task))
        if len(candidates) % WRITE_EVERY == 0:
            write_candidates(candidates, folder / "candidates.csv")
            note(f"{len(candidates)} of {settings.evaluations} candidates")
    return outcome, candidates


def budget(text: str) -> tuple[str, float | None]:
    """The budget's name and share. Raises PruningError for other text.

    >>> budget("macs=0.5"), budget("none")
    (('macs', 0.5), ('macs', None))
    """
    if text == "none":
        return SearchSettings().budget, None
    name, _, share = text.partition("=")
    try:
        return name, float(share)
    except ValueError as error:
        raise PruningError(
            f"'{text[:40]}' is no budget: give a cost and the share of it that may remain, such as "
            "macs=0.5."
        ) from error


def _settings(options: argparse.Namespace) -> SearchSettings:
    name, keep = budget(options.budget)
    return SearchSettings(
        method=options.method,
        budget=name,
        keep=keep,
        evaluations=options.evaluations,
        seed=options.seed,
        least=options.least,
        most=options.most,
        round_to=options.round_to,
        repair=options.repair,
    )


def _line(candidate: Candidate, settings: SearchSettings, task: Task) -> str:
    return (
        f"candidate {candidate.number} ({candidate.origin}): {task.short_label} "
        f"{task.text(candidate.judged.value)}, {_kept(candidate, settings)}"
    )


def _kept(candidate: Candidate, settings: SearchSettings) -> str:
    if settings.keep is None:
        shares = (f"{share:.1%} of the {BUDGETS[name]}" for name, share in candidate.costs.items())
        return ", ".join(shares)
    return f"{candidate.cost:.1%} of the {BUDGETS[settings.budget]}"


def _summary(outcome: SearchResult, count: int, settings: SearchSettings, task: Task) -> str:
    best = outcome.best
    return (
        f"Best of {count} candidates, number {best.number} ({best.origin}): {task.short_label} "
        f"{task.text(best.judged.value)} with {_kept(best, settings)}, dense "
        f"{task.text(outcome.dense.value)}; validation split, without training; "
        f"{outcome.measured} measured now. {outcome.note}".rstrip()
    )


def _as_dict(outcome: SearchResult) -> dict[str, object]:
    """The result as JSON values, in the value's own unit."""
    return {
        "dense": outcome.dense.value,
        "measured": outcome.measured,
        "note": outcome.note,
        "top": [
            {
                "number": candidate.number,
                "origin": candidate.origin,
                "value": candidate.judged.value,
                "loss": candidate.judged.loss,
                "costs": dict(candidate.costs),
                "ratios": candidate.ratios,
            }
            for candidate in outcome.top
        ],
    }


COMMAND = Command(
    "search",
    "find the ratios that keep the most of the task's value within a budget",
    "pruning search plan.json --method eagleeye --budget macs=0.5 --evaluations 200 --out found",
    add_options,
    run,
)
