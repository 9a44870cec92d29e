"""The browser's scans and previews, and what is known of each."""

from explorer.jobs.job import Snapshot
from explorer.pages.sensitivity.run import ScanRequest, kept_request, scanned_plan
from explorer.session import cache, state
from explorer.texts.formats import percent
from explorer.texts.translate import N_, _
from explorer.training.status import asked_for
from pruning_core.history import History, Run
from pruning_core.plan import Plan
from pruning_core.sensitivity.points import POINTS, unpack_points
from pruning_core.sensitivity.preview import Preview
from pruning_core.types import PruningError, SensitivityPoint

KIND = "scan"
MOST_KEPT = 6


def scans() -> tuple[Snapshot, ...]:
    """This browser's scans and previews, the newest first; then those that the run history keeps
    of the present network, such as from before a restart.
    """
    own = cache.jobs().snapshots(state.owner(), KIND)
    known = [asked_for(scan, ScanRequest) for scan in own]
    return own + tuple(scan for scan in _kept(len(own)) if scan.about not in known)


def _kept(count: int) -> tuple[Snapshot, ...]:
    """The newest kept scans of the present network. They are read again when `count` changes."""
    plan = state.plan()
    history = cache.history()
    if history is None:
        return ()
    try:
        space = cache.workspace(plan.model, plan.dataset)
        base = cache.fingerprint(plan, space)
        names = (plan.model, plan.dataset, history.folder, count)
        return cache.cached_detail(lambda: _read(history, base), space, "kept scans", *names)
    except PruningError:  # the side bar says so, or the page Runs
        return ()


def _read(history: History, fingerprint: str) -> tuple[Snapshot, ...]:
    runs = history.runs()
    own = [run for run in runs if run.kind == "scan" and run.fingerprint == fingerprint]
    finished = [run for run in own if run.state == "finished"][:MOST_KEPT]
    return tuple(_snapshot(history, run) for run in finished)


def _snapshot(history: History, run: Run) -> Snapshot:
    """A kept scan as if it had just ended."""
    points = unpack_points(history.file(run, POINTS) or b"", run.task)
    ended = run.started + (run.seconds or 0.0)
    return Snapshot(
        run.id,
        KIND,
        N_("Sensitivity scan"),
        "done",
        points,
        None,
        run.started,
        ended,
        0,
        kept_request(run),
    )


def newest_with_results() -> Snapshot | None:
    """The newest scan or preview that has measured something."""
    return next((scan for scan in scans() if points_of(scan) or preview_of(scan)), None)


def points_of(scan: Snapshot) -> tuple[SensitivityPoint, ...]:
    """The measured points."""
    return tuple(event for event in scan.events if isinstance(event, SensitivityPoint))


def preview_of(scan: Snapshot) -> Preview | None:
    """The newest state of a preview."""
    return next((event for event in reversed(scan.events) if isinstance(event, Preview)), None)


def measured_for(plan: Plan) -> tuple[SensitivityPoint, ...]:
    """The points of the newest scan; none where they are for another plan, or estimated."""
    scan = next((scan for scan in scans() if points_of(scan)), None)
    if scan is None:
        return ()
    scanned = scanned_plan(asked_for(scan, ScanRequest).plan)
    return points_of(scan) if scanned == scanned_plan(plan) else ()


def progress_of(scan: Snapshot) -> tuple[float, str, str]:
    """The finished share, how much that is in words, and what is being measured."""
    asked = asked_for(scan, ScanRequest)
    if asked.preview:
        preview = preview_of(scan)
        if preview is None:
            return 0.0, _("no evaluation"), _("Preview: the dense network")
        share = percent(preview.evaluation_share)
        done = _(
            "{count:,} evaluations ({share} of the full scan's)",
            count=preview.evaluations,
            share=share,
        )
        return preview.progress, done, _("Preview: {done}", done=done)
    points = len(points_of(scan))
    at = min(points // len(asked.grid), len(asked.layers) - 1)
    total = len(asked.layers)
    done = _("{count} of {total} layers", count=points // len(asked.grid), total=total)
    stage = _("Layer {at} of {total}: {name}", at=at + 1, total=total, name=asked.layers[at])
    return points / asked.total, done, stage
