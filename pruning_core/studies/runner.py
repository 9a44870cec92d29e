"""Carries out a study run by run: it loads finished runs from disk and measures the others."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from queue import Empty, SimpleQueue

import torch

from pruning_core.backends import Backend
from pruning_core.evaluation.accuracy import Judge
from pruning_core.pipeline import final_test_split
from pruning_core.studies.run import Result, run_events, seed_workspace
from pruning_core.studies.sharing import Numbered, RunElsewhere, held_runs
from pruning_core.studies.store import (
    create_study_folder,
    fingerprint,
    load_result,
    save_result,
    study_folder,
)
from pruning_core.studies.study import Run, Study, runnable_runs
from pruning_core.types import Epoch, Evaluation, PruningError, ResourceFailed, Step
from pruning_core.workers import Emit, WorkerLost, Workers, parallel
from pruning_core.workspaces import Workspace, open_in_worker


@dataclass(frozen=True)
class RunStarted:
    """A run starts. number: from 1 to `total`, in the study's order."""

    number: int
    total: int
    run: Run


@dataclass(frozen=True)
class RunFinished:
    """A run is finished and saved. from_disk: it was finished before and was loaded now."""

    number: int
    total: int
    result: Result
    from_disk: bool


@dataclass(frozen=True)
class RunFailed:
    """A run could not be carried out, for this reason; nothing is saved.

    The next start of the study tries the run again.
    """

    number: int
    total: int
    run: Run
    reason: str


Event = RunStarted | Step | Epoch | RunFinished | RunFailed | RunElsewhere | WorkerLost


def run_study(
    study: Study,
    space: Workspace,
    folder: Path | None = None,
    device: torch.device | None = None,
    *,
    backend: Backend | None = None,
    by_name: bool = False,
) -> Iterator[Event]:
    """Yields the events of every run that the network supports.

    A run that is on disk yields RunFinished at once. Every other run yields RunStarted, its Step
    and Epoch events, then RunFinished or RunFailed.
    folder: where runs are saved; the study's own folder under `studies_root` if left out.
    backend: its workers do the runs, without Step and Epoch events; by_name: they open the plan's
    network and data by name. Where a worker ends, WorkerLost says so and its run starts again.

    Several processes may carry out one study in one folder: each run is carried out once. Runs that
    another process has begun come last, with RunElsewhere events.
    A study can be stopped at any time, by closing the generator or by ending the process. The
    next start continues with the first run that is not on disk. A damaged file counts as missing.
    Raises PruningError where the network supports no run, or the folder cannot be written.
    """
    base = fingerprint(space)
    folder = folder or study_folder(study, base)
    runs = _runs(study, space)
    create_study_folder(study, base, folder)
    runner = StudyRunner(study, space, device)
    left = []
    for number, run in enumerate(runs, 1):
        saved = load_result(run, folder, space.dataset.task)
        if saved is not None:
            yield RunFinished(number, len(runs), saved, from_disk=True)
        else:
            left.append((number, run))
    if backend is None:
        yield from _serial(runner, folder, left, len(runs))
    elif left:
        yield from _parallel(StudySource(runner, by_name), folder, left, len(runs), backend)


def _runs(study: Study, space: Workspace) -> tuple[Run, ...]:
    """The runs that the network supports. Raises PruningError where there are none."""
    runs = runnable_runs(study, space)
    if not runs:
        raise PruningError(
            "No method of the study can prune this network: "
            "choose another criterion or granularity."
        )
    return runs


def _serial(
    runner: "StudyRunner", folder: Path, runs: Sequence[Numbered], total: int
) -> Iterator[Event]:
    """The events of the runs, one after the other."""
    for left in _left(folder, runs, total, runner):
        if isinstance(left, tuple):
            yield from _events(runner, folder, *left, total)
        else:
            yield left


def _left(
    folder: Path, runs: Iterable[Numbered], total: int, runner: "StudyRunner"
) -> Iterator[Numbered | RunFinished | RunElsewhere]:
    """Each run that this process is to carry out, while it holds its lock; an event for others."""
    for held in held_runs(folder, runs, total):
        if isinstance(held, RunElsewhere):
            yield held
            continue
        saved = load_result(held[1], folder, runner.space.dataset.task)
        yield held if saved is None else RunFinished(held[0], total, saved, from_disk=True)


def _events(
    runner: "StudyRunner", folder: Path, number: int, run: Run, total: int
) -> Iterator[Event]:
    """The events of one run. Its result is saved."""
    yield RunStarted(number, total, run)
    result = None
    try:
        for event in runner.events(run):
            if isinstance(event, Result):
                result = event
            else:
                yield event
    except PruningError as error:
        yield RunFailed(number, total, run, str(error))
    if result is not None:
        save_result(result, folder)
        yield RunFinished(number, total, result, from_disk=False)


def _parallel(
    source: "StudySource",
    folder: Path,
    runs: Sequence[Numbered],
    total: int,
    backend: Backend,
) -> Iterator[Event]:
    """The events of the runs, as many at a time as there are workers."""
    queue: SimpleQueue[Numbered] = SimpleQueue()
    for numbered in runs:
        queue.put(numbered)

    def work(workers: Workers, emit: Emit) -> None:
        for left in _left(folder, _taken(queue), total, source.runner):
            if isinstance(left, tuple):
                _measure(workers, emit, folder, left, total)
            else:
                workers.check_open()
                emit(left)

    count = min(len(runs), backend.count())
    yield from parallel(backend, source, lambda workers: [partial(work, workers)] * count)


def _taken(queue: "SimpleQueue[Numbered]") -> Iterator[Numbered]:
    """The runs of a queue that several workers share."""
    with suppress(Empty):
        while True:
            yield queue.get_nowait()


def _measure(workers: Workers, emit: Emit, folder: Path, numbered: Numbered, total: int) -> None:
    """Carries out one run in a worker and saves its result."""
    number, run = numbered
    emit(RunStarted(number, total, run))
    try:
        result = workers.run(run)
    except ResourceFailed:
        raise
    except PruningError as error:
        emit(RunFailed(number, total, run, str(error)))
        return
    save_result(result, folder)
    emit(RunFinished(number, total, result, from_disk=False))


class StudyRunner:
    """Carries out the runs of one study. The dense network is evaluated once, when first needed."""

    def __init__(self, study: Study, space: Workspace, device: torch.device | None) -> None:
        self.study = study
        self.space = space
        self.device = device
        self._seed = -1
        self._seed_space = space

    @cached_property
    def _dense(self) -> Evaluation:
        split = final_test_split(self.study.plan, self.space)
        return Judge.of(self.space.dataset).evaluate(self.space.model, split, self.device)

    def events(self, run: Run) -> Iterator[Step | Epoch | Result]:
        """The steps and epochs of one run, then its result."""
        space = self._workspace(run.seed)
        yield from run_events(self.study, run, space, self._dense, self.device)

    def run(self, run: Run) -> Result:
        """The result of one run, in any worker.

        Raises PruningError where the run ends without a result.
        """
        *_, result = self.events(run)
        if not isinstance(result, Result):
            raise PruningError("The run ended without a result.")
        return result

    def _workspace(self, seed: int) -> Workspace:
        """The workspace of a seed; the last one is cached, because runs come seed by seed."""
        if seed != self._seed:
            self._seed = seed
            self._seed_space = seed_workspace(self.space, self.study.images, seed)
        return self._seed_space


@dataclass(frozen=True, eq=False)
class StudySource:
    """What a worker carries out runs with. by_name: it opens the network and data itself."""

    runner: StudyRunner
    by_name: bool

    def for_other_process(self) -> "OpenStudy":
        """The study, and the network and data where they are not opened by name."""
        own = self.runner
        return OpenStudy(own.study, None if self.by_name else own.space, own.device)


@dataclass(frozen=True)
class OpenStudy:
    """Makes the runner of a study in another process."""

    study: Study
    space: Workspace | None
    device: torch.device | None

    def __call__(self) -> StudyRunner:
        plan = self.study.plan
        space = self.space or open_in_worker(plan.model, plan.dataset)
        return StudyRunner(self.study, space, self.device)
