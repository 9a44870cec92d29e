"""The background run of the panel "How far can this plan go?": its request and its results."""

from dataclasses import dataclass, replace
from functools import partial

from explorer.jobs.job import Snapshot
from explorer.pages.explore.events import how_far_events
from explorer.session import cache, state
from explorer.texts.translate import N_
from explorer.training.status import start_job
from pruning_core.plan import Plan
from pruning_core.repairs import REPAIRS
from pruning_core.sensitivity.farthest import CURVE, CurvePoint, Farthest
from pruning_core.workspaces import Workspace

KIND = "how far"
TITLE = N_("How far can this plan go?")
MOST_TRIED = 15
"""About how many sparsities are tried for the limit, at most."""


@dataclass(frozen=True)
class HowFarRequest:
    """key: of the plan without its sparsity; with_curve: is the curve measured first?"""

    key: str
    lose: float
    sure: bool
    with_curve: bool


def plan_key(plan: Plan, *, repair: bool) -> str:
    """What the curve depends on, as text; with repair also what the search depends on.

    The curve has every quick repair; one that is not quick is part of its own plan's curve only.
    """
    fixed = replace(plan, sparsity=0.0)
    slow = not REPAIRS[plan.repair].quick
    own = cache.repair_key(fixed) if repair or slow else cache.mask_key(fixed)
    return repr((own, plan.calibration, plan.probe))


def start(plan: Plan, space: Workspace, lose: float, sure: bool) -> None:
    """Starts the run. The curve is measured once per plan."""
    key = plan_key(plan, repair=True)
    done = any(run.status == "done" for run in runs(plan, curve_only=True))
    asked = HowFarRequest(key, lose, sure, not done)
    events = partial(
        how_far_events,
        plan,
        lose=lose,
        sure=sure,
        known=curve_points(plan),
        with_curve=asked.with_curve,
    )
    work = cache.work(plan, space, events)
    start_job(KIND, TITLE, work, (plan_key(plan, repair=False), asked))


def runs(plan: Plan, *, curve_only: bool = False) -> tuple[Snapshot, ...]:
    """This browser's runs of the plan, at any sparsity, the newest first.

    curve_only: also those with another repair that measured the curve.
    """
    own = plan_key(plan, repair=not curve_only)
    return tuple(run for run in _all_runs() if own == _key(run, curve_only=curve_only))


def _all_runs() -> tuple[Snapshot, ...]:
    return cache.jobs().snapshots(state.owner(), KIND)


def _key(run: Snapshot, *, curve_only: bool) -> str | None:
    match run.about:
        case (str(curve_key), HowFarRequest() as asked):
            if not curve_only:
                return asked.key
            return curve_key if asked.with_curve else None
    return None


def curve_points(plan: Plan) -> tuple[CurvePoint, ...]:
    """The measured points of the plan's curve, of the newest run that measured some."""
    for run in runs(plan, curve_only=True):
        points = tuple(event for event in run.events if isinstance(event, CurvePoint))
        if points:
            return points
    return ()


def result(plan: Plan, lose: float, sure: bool) -> Farthest | None:
    """The result of the newest finished search with this limit."""
    for run in runs(plan):
        match run.about, run.result:
            case (_, HowFarRequest(lose=l, sure=s)), Farthest() as last if (l, s) == (lose, sure):
                return last
    return None


def share_done(run: Snapshot, repairs: int) -> float:
    """The finished share of a run, estimated."""
    match run.about:
        case (_, HowFarRequest(with_curve=True)):
            return min(1.0, len(run.events) / (repairs * len(CURVE) + MOST_TRIED))
    return min(1.0, len(run.events) / MOST_TRIED)
