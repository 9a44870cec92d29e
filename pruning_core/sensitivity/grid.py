"""Measures a grid of layers x sparsities x granularities x criteria on a backend."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import torch

from pruning_core.backends import Backend, Submit, in_process
from pruning_core.plan import Plan
from pruning_core.sensitivity import scan
from pruning_core.sensitivity.grid_jobs import (
    Grid,
    GridPoint,
    Job,
    RunnerSource,
    Scorer,
    job_runner,
    make_jobs,
)
from pruning_core.sensitivity.points import KeptPoints
from pruning_core.training.journal import Journal
from pruning_core.types import PruningError, SensitivityPoint
from pruning_core.workers import MAX_LOSSES
from pruning_core.workspaces import Workspace, open_workspace

Points = list[SensitivityPoint]


def measure(
    grid: Grid,
    plan: Plan,
    space: Workspace | None = None,
    *,
    by_name: bool = False,
    backend: Backend | None = None,
    device: torch.device | None = None,
    journal: Journal | None = None,
) -> Iterator[GridPoint]:
    """Yields every point of the grid, in the order of `make_jobs`, then by rising sparsity.

    plan: names model, data, probe and calibration images. Its criterion and granularity are not
    used.
    space: a workspace of your own; it is sent to every worker once. Without it, or where it was
    opened by the plan's names (by_name), each worker opens the plan's model and data by name.
    backend: `in_process()` if left out. journal: of an interrupted measurement, whose finished jobs
    are not done again.

    All backends give the same numbers, bit for bit, on equal processors and package versions:
    scores are computed in this process, and every job uses one kernel thread.
    When a worker is lost, its jobs are submitted again. Closing the generator cancels the jobs
    that have not started.
    Raises PruningError where the grid cannot be measured, and where workers are lost `MAX_LOSSES`
    times with no job finished between.
    """
    workspace = space or open_workspace(plan.model, plan.dataset)
    source = RunnerSource(
        job_runner(plan, workspace, device), None if space and not by_name else plan
    )
    jobs = make_jobs(grid, plan, workspace)
    kept = KeptPoints(journal, workspace.dataset.task, [job.layers for job in jobs])
    scheduler = _Scheduler(
        jobs, Scorer(plan, workspace), backend or in_process(), next_job=len(kept.units)
    )
    for index, points in enumerate(kept.all(scheduler.results(source))):
        for point in points:
            yield GridPoint(jobs[index].criterion, point, index + 1, len(jobs))


def to_csv(points: Sequence[GridPoint]) -> str:
    """The table of `scan.to_csv` with one more column, `criterion`."""
    header, *lines = scan.to_csv([point.point for point in points]).splitlines()
    rows = [f"{line},{point.criterion}" for line, point in zip(lines, points, strict=True)]
    return "\n".join([f"{header},criterion", *rows]) + "\n"


@dataclass(eq=False)
class _Scheduler:
    """Submits jobs in order and collects their points.

    next_job: index of the job whose points are needed next.
    submitted: futures by index of the job. finished: points that came before they were needed.
    losses: how often workers were lost since a job finished.
    """

    jobs: Sequence[Job]
    scores: Scorer
    backend: Backend
    finished: dict[int, Points] = field(default_factory=dict)
    submitted: dict[int, Future[Points]] = field(default_factory=dict)
    next_job: int = 0
    losses: int = 0

    def results(self, source: RunnerSource) -> Iterator[Points]:
        """The points of each job, in order. Opens the backend again when workers are lost."""
        while self.next_job < len(self.jobs):
            with self.backend.open(source) as submit:
                try:
                    while self.next_job < len(self.jobs) and self._finish_next(submit):
                        yield self.finished.pop(self.next_job)
                        self.next_job += 1
                finally:
                    self._cancel()

    def _finish_next(self, submit: Submit) -> bool:
        """Waits for the next job's points. False where workers were lost."""
        try:
            self._submit_ahead(submit)
            if self.next_job in self.submitted:
                self.finished[self.next_job] = self.submitted[self.next_job].result()
                del self.submitted[self.next_job]
        except self.backend.worker_lost as error:
            self._keep_finished()
            self._count_loss(error)
            return False
        self.losses = 0
        return True

    def _submit_ahead(self, submit: Submit) -> None:
        last = min(self.next_job + self.backend.jobs_ahead, len(self.jobs))
        for index in range(self.next_job, last):
            if index not in self.finished and index not in self.submitted:
                job = self.jobs[index]
                self.submitted[index] = submit(job, self.scores(job))

    def _keep_finished(self) -> None:
        """Keeps the points that the workers sent before they were lost."""
        for index, future in self.submitted.items():
            if future.done() and not future.cancelled() and future.exception() is None:
                self.finished[index] = future.result()
                self.losses = 0

    def _count_loss(self, error: BaseException) -> None:
        self.losses += 1
        if self.losses >= MAX_LOSSES:
            job = self.jobs[self.next_job]
            raise PruningError(
                f"Workers were lost {self.losses} times in a row near {job.layers[0]}, "
                f"{job.granularity}, {job.criterion}: they may need more memory, so try fewer of "
                f"them ({type(error).__name__})."
            ) from error

    def _cancel(self) -> None:
        """Cancels the jobs that have not started."""
        for future in self.submitted.values():
            future.cancel()
        self.submitted.clear()
