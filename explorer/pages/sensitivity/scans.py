"""The browser's scans and previews, and what is known of each."""

from explorer.jobs.job import Snapshot
from explorer.pages.sensitivity.run import ScanRequest, scanned_plan
from explorer.session import cache, state
from explorer.texts.formats import percent
from explorer.training.status import asked_for
from pruning_core.plan import Plan
from pruning_core.sensitivity.preview import Preview
from pruning_core.types import SensitivityPoint

KIND = "scan"


def scans() -> tuple[Snapshot, ...]:
    """This browser's scans and previews, the newest first."""
    return cache.jobs().snapshots(state.owner(), KIND)


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
            return 0.0, "no evaluation", "Preview: the dense network"
        share = percent(preview.evaluation_share)
        done = f"{preview.evaluations:,} evaluations ({share} of the full scan's)"
        return preview.progress, done, f"Preview: {done}"
    points = len(points_of(scan))
    at = min(points // len(asked.grid), len(asked.layers) - 1)
    done = f"{points // len(asked.grid)} of {len(asked.layers)} layers"
    stage = f"Layer {at + 1} of {len(asked.layers)}: {asked.layers[at]}"
    return points / asked.total, done, stage
