"""A study in the background: its events, its progress, and estimates of its time."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from explorer.jobs.progress import Progress
from explorer.pages.methods.choices import method_name
from explorer.texts.translate import _
from explorer.training.engine import epochs_of
from pruning_core.backends import configured_backend
from pruning_core.evaluation.accuracy import Judge
from pruning_core.pipeline import final_test_split, probe_split, uses_whole_test
from pruning_core.plan import Plan
from pruning_core.studies import (
    Result,
    Run,
    RunFailed,
    RunFinished,
    RunStarted,
    Study,
    run_study,
    runnable_runs,
)
from pruning_core.types import Epoch, Step
from pruning_core.workspaces import Workspace

STEP_INTERVAL = 0.5
"""Least seconds between two Step events that the page receives."""
TRAINING_COST = 3
"""A training step costs about as much as this number of forward passes."""
MOST_OF_A_RUN = 0.9
"""The last part of a run is not training, so its steps count up to this share of the run."""


def study_events(asked: Study, space: Workspace) -> Iterator[object]:
    """The events of `studies.run_study` without Epoch, and with at most two Steps per second."""
    last = 0.0
    for event in run_study(asked, space, backend=configured_backend(), by_name=True):
        if isinstance(event, Step):
            if time.monotonic() - last < STEP_INTERVAL:
                continue
            last = time.monotonic()
        if not isinstance(event, Epoch):
            yield event


@dataclass(frozen=True)
class StudyProgress:
    """How far a study is.

    share: of all runs, in [0, 1]; left: seconds, estimated, None before a run is measured; done:
    runs that finished or failed; failed: number of failed runs by the reason.
    """

    share: float
    left: float | None
    stage: str
    done: int
    total: int
    failed: dict[str, int]

    def as_progress(self) -> Progress:
        """The same for the progress bar."""
        stage = _(
            "{done} of {total} runs done · {stage}",
            done=self.done,
            total=self.total,
            stage=self.stage,
        )
        return Progress(self.share, self.left, stage)


def study_progress(events: Sequence[object], asked: Study) -> StudyProgress:
    """How far the study is after these events."""
    ended = [event for event in events if isinstance(event, RunFinished | RunFailed)]
    done = {event.number for event in ended}
    started = [event for event in events if isinstance(event, RunStarted)]
    present = [event for event in started if event.number not in done]
    total = next((event.total for event in (*ended, *started)), 0)
    part = 0.0
    stage = _("looking for finished runs")
    if present:
        part = _present_run_share(events[-1], asked)
        stage = run_words(present[-1].run)
        if len(present) > 1:
            stage = _("{count} at the same time, such as {run}", count=len(present), run=stage)
    left = total - len(ended) - part
    return StudyProgress(
        share=(len(ended) + part) / max(1, total),
        left=_seconds_left(ended, left / max(1, len(present))),
        stage=stage,
        done=len(ended),
        total=total,
        failed=_failures(ended),
    )


def _present_run_share(last: object, asked: Study) -> float:
    """The share of the present run that is done, by its last event.

    Steps count as those of one training, so a flow with several trainings gives a rough value.
    """
    if not isinstance(last, Step):
        return 0.0
    epochs = last.epoch - 1 + last.step / last.steps
    return min(MOST_OF_A_RUN, epochs / max(1, asked.plan.fine_tune.epochs))


def _seconds_left(ended: Sequence[RunFinished | RunFailed], runs: float) -> float | None:
    """Seconds for `runs` runs, by the mean of those measured just now; None without any."""
    seconds = [
        event.result.seconds
        for event in ended
        if isinstance(event, RunFinished) and not event.from_disk
    ]
    return sum(seconds) / len(seconds) * runs if seconds else None


def _failures(ended: Sequence[RunFinished | RunFailed]) -> dict[str, int]:
    """Number of failed runs by the reason."""
    failed: dict[str, int] = {}
    for event in ended:
        if isinstance(event, RunFailed):
            failed[event.reason] = failed.get(event.reason, 0) + 1
    return failed


def run_words(run: Run) -> str:
    """Taylor, Fine-grained, 8×, seed 0."""
    method = method_name(run.criterion, run.granularity, 2)
    return _(
        "{method}, {compression:g}×, seed {seed}",
        method=method,
        compression=run.compression,
        seed=run.seed,
    )


def seconds_per_image(plan: Plan, space: Workspace) -> float:
    """Seconds of one image's forward pass, measured now on a few probe images."""
    split = probe_split(plan, space)
    few = split.subset(range(min(len(split), 256 if uses_whole_test(space.dataset) else 8)))
    for _pass in range(2):  # the first pass also fills caches, so only the second one is timed
        began = time.perf_counter()
        Judge.of(space.dataset).evaluate(space.model, few)
    return (time.perf_counter() - began) / len(few)


def estimated_seconds(
    asked: Study, space: Workspace, per_image: float, results: Sequence[Result]
) -> float:
    """Seconds for the runs that are not measured yet.

    With results: missing runs times the mean time of a measured run. Without: missing runs times
    images per run times `per_image`, the seconds of one forward pass.
    """
    missing = len(runnable_runs(asked, space)) - len(results)
    if results:
        return missing * sum(result.seconds for result in results) / len(results)
    return missing * _images_per_run(asked, space) * per_image


def _images_per_run(asked: Study, space: Workspace) -> int:
    """Forward passes of one image in one run.

    Training images in each epoch, forward and backward; validation images in each epoch; test
    images twice; calibration images about twice, forward and backward.
    """
    plan = asked.plan
    data = space.dataset
    train = asked.images or len(data.train)
    return (
        epochs_of(plan) * (TRAINING_COST * train + len(data.val))
        + 2 * len(final_test_split(plan, space))
        + 2 * TRAINING_COST * plan.calibration
    )
