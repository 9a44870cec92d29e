"""Runs a search of a plan's ratios, and keeps all that it measures."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO
from math import ceil
from pathlib import Path

from pruning_core.backends import Backend
from pruning_core.pipeline import repair_note
from pruning_core.plan import Plan
from pruning_core.repairs import BN, NONE
from pruning_core.search import search_method
from pruning_core.search.candidates import Candidate, Judged
from pruning_core.search.evaluate import PlanEvaluate
from pruning_core.search.evaluations import times_name
from pruning_core.search.measured_times import time_words
from pruning_core.search.plan_space import TIME, PlanSpace
from pruning_core.search.postgres_log import open_log
from pruning_core.search.space import RatioSpace, within
from pruning_core.search.study import SharedEvaluate, worker_seed
from pruning_core.search.workers import candidates
from pruning_core.sensitivity.ratios import FromSensitivity
from pruning_core.sensitivity.rules import SENSITIVITY_RULES
from pruning_core.tied_layers import average_ratios
from pruning_core.types import PruningError, Ratios, SensitivityPoint
from pruning_core.whole_files import write_file
from pruning_core.workers import WorkerLost
from pruning_core.workspaces import Workspace
from pruning_core.zoo import results_root

MOST_EVALUATIONS = 100_000
TOP = 10
"""How many of the best candidates are reported."""


@dataclass(frozen=True)
class SearchSettings:
    """How to search. method: a name of `SEARCHES`, with settings after a colon.

    budget: macs, parameters, bytes or time; keep: the share of it that may remain; None: no budget,
    only for methods that look for trade-offs. evaluations: most candidates. seed: of the method.
    least, most: the range of every ratio. round_to: widths are multiples of it. repair: of every
    candidate, a name of `REPAIRS`; None: the plan's own, or bn where the plan has none.
    Raises PruningError for a value that is not possible.
    """

    method: str = "eagleeye"
    budget: str = "macs"
    keep: float | None = 0.5
    evaluations: int = 200
    seed: int = 0
    least: float = 0.0
    most: float = 0.9
    round_to: int = 1
    repair: str | None = None

    def __post_init__(self) -> None:
        chosen = search_method(self.method)
        if self.keep is None and not chosen.several:
            raise PruningError(f"{chosen.label} needs a budget, such as macs=0.5.")
        if not 1 <= self.evaluations <= MOST_EVALUATIONS:
            raise PruningError(
                f"{self.evaluations} evaluations are outside 1 to {MOST_EVALUATIONS}."
            )
        if not 0 <= self.seed < 2**31:
            raise PruningError(f"The seed {self.seed} is outside 0 to {2**31 - 1}.")


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The last event of `search`: the best candidate, and the plan that removes its ratios.

    top: the best candidates within the budget, at most `TOP`, each with other ratios. dense: the
    network with nothing removed, on the same images. measured: how many evaluations were made now;
    the others were known. note: a second measurement of the best one's time, where that is the
    budget.
    """

    plan: Plan
    best: Candidate
    top: tuple[Candidate, ...]
    dense: Judged
    measured: int
    note: str = ""


def searches_root() -> Path:
    """The folder of evaluations where no other one is given: `searches` beside the data."""
    return results_root() / "searches"


def search(
    plan: Plan,
    space: Workspace,
    settings: SearchSettings,
    folder: Path | None = None,
    points: Sequence[SensitivityPoint] = (),
    *,
    backend: Backend | None = None,
    by_name: bool = False,
) -> Iterator[Candidate | WorkerLost | SearchResult]:
    """Yields every measured candidate, then what was found.

    All is measured without training, on the plan's probe of the validation split.
    folder: of the finished evaluations, which no later search measures again; default
    `searches_root()`, or the data base of PostgreSQL that PRUNING_EXPLORER_STORAGE names.
    A stopped search continues where it ended. points: of a scan; then the ratios by the sensitivity
    rules are starts too. backend, by_name: as in `workers.candidates`.
    Raises PruningError where the budget cannot be met and for a plan that has no ratios.

    >>> from pruning_core import open_workspace
    >>> import tempfile
    >>> plan = Plan(model="lenet5", granularity="filter")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     settings = SearchSettings("random", evaluations=3)
    ...     space = open_workspace("lenet5", "digits")
    ...     *events, found = search(plan, space, settings, Path(folder))
    >>> len(events), found.best.cost <= 0.505
    (3, True)
    """
    ready = prepared(plan, space, settings, folder)
    starts = ready.space.starts() | _rule_starts(ready.space, points)
    top: list[Candidate] = []
    run = partial(_run_method, ready.space, settings, starts)
    events = candidates(ready, run, folder or searches_root(), backend, by_name)
    for event in events:
        if isinstance(event, Candidate):
            top = best_of([*top, event], ready.space)
        yield event
    yield _found(ready, settings, top)


def _found(ready: PlanEvaluate, settings: SearchSettings, top: Sequence[Candidate]) -> SearchResult:
    """The last event. Raises PruningError where no candidate is within the budget."""
    if not top:
        raise PruningError(
            f"No candidate of {settings.method} is within the budget: give more evaluations or a "
            "larger budget."
        )
    best = top[0]
    plan = ready.space.plan_with(best.ratios)
    note = time_words(ready.space.times.again(best.ratios)) if settings.budget == TIME else ""
    return SearchResult(plan, best, tuple(top), ready.dense(), ready.measured, note)


def _run_method(
    space: PlanSpace,
    settings: SearchSettings,
    starts: Mapping[str, Ratios],
    evaluate: SharedEvaluate,
    workers: int,
) -> Iterator[Candidate]:
    """The candidates of one worker: its part of the evaluations."""
    part = ceil(settings.evaluations / workers)
    seed = worker_seed(settings.seed, evaluate.number)
    return search_method(settings.method)(space, evaluate, part, seed, starts)


def best_of(candidates: Sequence[Candidate], space: RatioSpace) -> list[Candidate]:
    """The best candidates within the budget, at most `TOP`, each with other ratios; best first."""
    known: dict[tuple[tuple[str, float], ...], Candidate] = {}
    for candidate in candidates:
        if not candidate.failed and within(space, candidate.cost):
            known.setdefault(tuple(sorted(candidate.ratios.items())), candidate)
    ranked = sorted(known.values(), key=lambda c: (c.judged.rank, -c.number), reverse=True)
    return ranked[:TOP]


def prepared(
    plan: Plan, space: Workspace, settings: SearchSettings, folder: Path | None = None
) -> PlanEvaluate:
    """The space of the plan, and what measures its ratios. folder: as in `search`.

    Raises PruningError as `search`.
    """
    repaired = asked_repair(plan, settings)
    if repair_note(repaired, space) is not None:
        repaired = replace(repaired, repair=NONE)
    timed = settings.budget == TIME
    name = times_name(repaired, space) if timed else ""
    ratios = PlanSpace(
        repaired,
        space,
        budget=settings.budget,
        keep=settings.keep,
        least=settings.least,
        most=settings.most,
        round_to=settings.round_to,
        time_log=open_log(folder or searches_root(), name) if timed else None,
    )
    return PlanEvaluate(ratios)


def asked_repair(plan: Plan, settings: SearchSettings) -> Plan:
    """The plan with the repair of the search, whether or not it changes something."""
    return replace(plan, repair=settings.repair or (BN if plan.repair == NONE else plan.repair))


def write_candidates(candidates: Sequence[Candidate], path: Path) -> None:
    """Writes a table: a row per candidate, a column per cost, extra number and layer."""
    costs = list(dict.fromkeys(name for c in candidates for name in c.costs))
    extras = list(dict.fromkeys(name for c in candidates for name in c.extra))
    layers = list(dict.fromkeys(name for c in candidates for name in c.ratios))
    head = ["number", "origin", "value", "loss", "best", "failed", *costs, *extras, *layers]
    text = StringIO()
    table = csv.writer(text)
    table.writerow(head)
    for c in candidates:
        own = [c.number, c.origin, c.judged.value, c.judged.loss, int(c.best), c.failed]
        more = [*map(c.costs.get, costs), *map(c.extra.get, extras)]
        table.writerow([*own, *more, *map(c.ratios.get, layers)])
    write_file(path, text.getvalue())


def _rule_starts(space: PlanSpace, points: Sequence[SensitivityPoint]) -> dict[str, Ratios]:
    """The ratios by the sensitivity rules, fitted to the budget, without those that cannot be."""
    if not points:
        return {}
    resolved = space.resolved
    names = {name for part in space.parts for name in part.layers}
    layers = tuple(layer for layer in resolved.layers if layer.name in names)
    sparsity = 0.5 if space.keep is None else 1 - space.keep
    fitted = {}
    for rule in SENSITIVITY_RULES:
        try:
            own = FromSensitivity(tuple(points), rule)(layers, space.groups, sparsity)
            shared = average_ratios(own, layers, resolved.granularity, resolved.couplings)
            fitted[rule] = space.fitted(shared)
        except PruningError:
            continue  # this rule cannot meet the budget; the others can
    return fitted
