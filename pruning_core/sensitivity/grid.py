"""Grids over layer x sparsity x granularity x criterion, measured through one door, wherever the
workers are.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import torch

from pruning_core.plan import Plan
from pruning_core.sensitivity.backends import (
    Backend,
    Points,
    Send,
    dask,
    executor_backend,
    in_process,
    process_pool,
)
from pruning_core.sensitivity.grid_jobs import (
    Grid,
    GridPoint,
    Job,
    JobRunner,
    RunnerSource,
    Scorer,
    job_runner,
    make_jobs,
)
from pruning_core.sensitivity.scan import to_csv as table
from pruning_core.types import PruningError
from pruning_core.workspace import Workspace, open_workspace

__all__ = [
    "Backend",
    "Grid",
    "GridPoint",
    "Job",
    "JobRunner",
    "dask",
    "executor_backend",
    "in_process",
    "make_jobs",
    "measure",
    "process_pool",
    "to_csv",
]
LOSSES = 3
"""Times in a row that workers may be lost before any unit is finished."""


def measure(
    grid: Grid,
    plan: Plan,
    space: Workspace | None = None,
    *,
    backend: Backend | None = None,
    device: torch.device | None = None,
) -> Iterator[GridPoint]:
    """Yields every point of the grid in a fixed order: criterion, granularity, layer, sparsity, as
    each unit's turn comes.

    plan: names model, data, probe and calibration images; its criterion and granularity do not
    count. space: a model of your own, sent to each worker once; without it each worker opens the
    plan's by name. door: `in_process()` if left out. The same numbers through every door, bit for
    bit, on processors and versions of one kind: scores are made here, and every unit is computed
    with one kernel thread. Closing the generator drops what has not begun. A lost worker's units
    are sent again. Raises PruningError where the grid cannot be measured, and where workers are
    lost `LOSSES` times in a row.
    """
    here = space or open_workspace(plan.model, plan.dataset)
    source = RunnerSource(job_runner(plan, here, device), None if space else plan)
    jobs = make_jobs(grid, plan, here)
    run = _Run(jobs, Scorer(plan, here), backend or in_process())
    for at, points in enumerate(run.units(source)):
        for point in points:
            yield GridPoint(jobs[at].criterion, point, at + 1, len(jobs))


def to_csv(points: Sequence[GridPoint]) -> str:
    """The tidy table of `scan.to_csv`, with the criterion as one more column."""
    head, *lines = table([found.point for found in points]).splitlines()
    named = [f"{line},{found.criterion}" for line, found in zip(lines, points, strict=True)]
    return "\n".join([f"{head},criterion", *named]) + "\n"


@dataclass(eq=False)
class _Run:
    """One grid on its way. done: units finished before their turn; sent: on their way; turn: the
    next unit to give out.
    """

    jobs: Sequence[Job]
    scores: Scorer
    backend: Backend
    done: dict[int, Points] = field(default_factory=dict)
    sent: dict[int, Future[Points]] = field(default_factory=dict)
    turn: int = 0
    losses: int = 0

    def units(self, source: RunnerSource) -> Iterator[Points]:
        """Each unit's points, in order; opens the door again when workers are lost."""
        while self.turn < len(self.jobs):
            with self.backend.open(source) as send:
                try:
                    while self.turn < len(self.jobs) and self._next(send):
                        yield self.done.pop(self.turn)
                        self.turn += 1
                finally:
                    self._drop()

    def _next(self, send: Send) -> bool:
        """Waits until the unit whose turn it is is done; False where workers were lost."""
        try:
            for at in range(self.turn, min(self.turn + self.backend.ahead, len(self.jobs))):
                if at not in self.done and at not in self.sent:
                    self.sent[at] = send(self.jobs[at], self.scores(self.jobs[at]))
            if self.turn in self.sent:
                self.done[self.turn] = self.sent[self.turn].result()
                del self.sent[self.turn]
        except self.backend.lost as error:
            self._lost(error)
            return False
        self.losses = 0
        return True

    def _lost(self, error: BaseException) -> None:
        """Keeps what the lost workers had finished."""
        for at, future in self.sent.items():
            if future.done() and not future.cancelled() and future.exception() is None:
                self.done[at] = future.result()
                self.losses = 0
        self.losses += 1
        if self.losses >= LOSSES:
            job = self.jobs[self.turn]
            raise PruningError(
                f"Workers were lost {self.losses} times in a row near {job.layers[0]}, {job.granularity}, {job.criterion}: "
                f"they may need more memory, so try fewer of them ({type(error).__name__})."
            ) from error

    def _drop(self) -> None:
        """Drops what has not begun."""
        for future in self.sent.values():
            future.cancel()
        self.sent.clear()
