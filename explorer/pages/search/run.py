"""A search in the background: its request, and what its events say so far."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from explorer.jobs.job import Snapshot
from explorer.jobs.progress import Progress
from explorer.pages.search.events import Started
from explorer.session import cache, state
from explorer.texts.translate import _, from_core
from explorer.training.status import asked_for
from pruning_core.intervals import wilson_interval
from pruning_core.plan import Plan
from pruning_core.repairs import BN, NONE
from pruning_core.search import SEARCHES, Candidate
from pruning_core.search.run import SearchSettings
from pruning_core.tasks import Task
from pruning_core.types import Ratios, SensitivityPoint

KIND = "search"
NOT_SEARCHED = ("allocation", "sparsity", "schedule", "flow", "overrides", "fine_tune", "tied")
"""Fields of a plan that what a search measures does not depend on."""


@dataclass(frozen=True)
class SearchRequest:
    """What to search. points: of a finished scan, whose ratios by rule are starts too."""

    plan: Plan
    settings: SearchSettings
    points: tuple[SensitivityPoint, ...] = field(default=(), repr=False, compare=False)

    @property
    def name(self) -> str:
        """The method with its settings, and the seed: EagleEye (draws=50), seed 0."""
        name, _colon, settings = self.settings.method.partition(":")
        return _(
            "{method}{settings}, seed {seed}",
            method=from_core(SEARCHES[name].label),
            settings=_(" ({text})", text=settings.replace(",", ", ")) if settings else "",
            seed=self.settings.seed,
        )

    @property
    def comparable(self) -> tuple[Plan, SearchSettings]:
        """Equal for searches whose candidates have the same budget and are measured alike."""
        usual = SearchSettings()
        settings = replace(
            self.settings, method=usual.method, evaluations=usual.evaluations, seed=usual.seed
        )
        return searched_plan(self.plan), settings


def searched_plan(plan: Plan) -> Plan:
    """The plan with default values wherever a search does not depend on the value.

    A search repairs batch norms where the plan has no repair.
    """
    usual = Plan()
    same = {name: getattr(usual, name) for name in NOT_SEARCHED}
    return replace(plan, repair=NONE if plan.repair == BN else plan.repair, **same)


@dataclass(frozen=True, eq=False)
class SearchRun:
    """A search of this browser, and what it has measured so far."""

    job: Snapshot
    asked: SearchRequest
    started: Started | None
    candidates: tuple[Candidate, ...]

    @property
    def best(self) -> Candidate | None:
        """The best candidate within the budget so far."""
        return next((c for c in reversed(self.candidates) if c.best), None)

    @property
    def progress(self) -> Progress:
        """How far it is. Known candidates take no time, so the time left is a rough estimate."""
        if self.started is None:
            return Progress(0.0, None, _("scoring groups, measuring the baselines"))
        done = len(self.candidates)
        total = self.asked.settings.evaluations
        left = self.job.seconds / done * (total - done) if done else None
        return Progress(
            min(1.0, done / total),
            left,
            _("candidate {done:,} of {total:,}", done=done, total=total),
        )


def runs() -> tuple[SearchRun, ...]:
    """This browser's searches, newest first: one for each request that has any events."""
    newest: dict[SearchRequest, SearchRun] = {}
    for job in cache.jobs().snapshots(state.owner(), KIND):
        asked = asked_for(job, SearchRequest)
        if asked not in newest:
            started = next((e for e in job.events if isinstance(e, Started)), None)
            candidates = tuple(e for e in job.events if isinstance(e, Candidate))
            newest[asked] = SearchRun(job, asked, started, candidates)
    return tuple(newest.values())


def together(known: Sequence[SearchRun]) -> tuple[SearchRun, ...]:
    """The newest search and those that can be compared with it, in the order of their start.

    Of searches that differ only in the number of evaluations, only the newest, in the first's
    place: they have the same name in charts.
    """
    comparable = known[0].asked.comparable
    shown: dict[str, SearchRun] = {}
    for run in reversed(known):
        if run.asked.comparable == comparable and run.started is not None:
            shown[run.asked.name] = run
    return tuple(shown.values())


def plan_of(run: SearchRun, ratios: Ratios, now: Plan) -> Plan:
    """The plan that removes a candidate's ratios. now: its training is kept."""
    started = run.started
    if started is None:
        return now
    groups = {name: part.groups for part in started.parts for name in part.layers}
    own = dict.fromkeys(dict(started.plan.overrides), 0.0)
    own |= {name: rounded(ratio, groups.get(name, 0)) for name, ratio in ratios.items()}
    kept = {name: getattr(now, name) for name in ("fine_tune", "flow", "schedule", "sparsity")}
    return replace(started.plan, overrides=tuple(own.items()), **kept)


def rounded(ratio: float, groups: int) -> float:
    """A ratio short enough for an address, with the same number of removed groups."""
    return round(ratio, max(3, len(str(groups)) + 1))


def interval_of(value: float, n: int, task: Task) -> tuple[float, float] | None:
    """The 95% interval of an accuracy on n samples; None for other values."""
    return wilson_interval(round(value * n), n) if task.binary else None
