"""Carries out a study run by run: it loads finished runs from disk and measures the others."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from pruning_core.evaluation.accuracy import Judge
from pruning_core.pipeline import final_test_split
from pruning_core.studies.run import Result, run_events, seed_workspace
from pruning_core.studies.store import (
    create_study_folder,
    fingerprint,
    load_result,
    save_result,
    study_folder,
)
from pruning_core.studies.study import Run, Study, runnable_runs
from pruning_core.types import Epoch, Evaluation, PruningError, Step
from pruning_core.workspaces import Workspace


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


Event = RunStarted | Step | Epoch | RunFinished | RunFailed


def run_study(
    study: Study, space: Workspace, folder: Path | None = None, device: torch.device | None = None
) -> Iterator[Event]:
    """Yields the events of every run that the network supports.

    A run that is on disk yields RunFinished at once. Every other run yields RunStarted, its Step
    and Epoch events, then RunFinished or RunFailed.
    folder: where runs are saved; the study's own folder under `studies_root` if left out.

    A study can be stopped at any time, by closing the generator or by ending the process. The
    next start continues with the first run that is not on disk. A damaged file counts as missing.
    Raises PruningError where the network supports no run, or the folder cannot be written.
    """
    base = fingerprint(space)
    folder = folder or study_folder(study, base)
    runs = runnable_runs(study, space)
    if not runs:
        raise PruningError(
            "No method of the study can prune this network: "
            "choose another criterion or granularity."
        )
    create_study_folder(study, base, folder)
    runner = _Runner(study, space, folder, device)
    for number, run in enumerate(runs, 1):
        yield from runner.events(run, number, len(runs))


class _Runner:
    """Carries out the runs of one study. The dense network is evaluated once, when first needed."""

    def __init__(
        self, study: Study, space: Workspace, folder: Path, device: torch.device | None
    ) -> None:
        self._study = study
        self._space = space
        self._folder = folder
        self._device = device
        self._seed = -1
        self._seed_space = space

    @cached_property
    def _dense(self) -> Evaluation:
        split = final_test_split(self._study.plan, self._space)
        return Judge.of(self._space.dataset).evaluate(self._space.model, split, self._device)

    def events(self, run: Run, number: int, total: int) -> Iterator[Event]:
        """The events of one run. Its result is saved."""
        saved = load_result(run, self._folder, self._space.dataset.task)
        if saved is not None:
            yield RunFinished(number, total, saved, from_disk=True)
            return
        yield RunStarted(number, total, run)
        space = self._workspace(run.seed)
        dense = self._dense
        result = None
        try:
            for event in run_events(self._study, run, space, dense, self._device):
                if isinstance(event, Result):
                    result = event
                else:
                    yield event
        except PruningError as error:
            yield RunFailed(number, total, run, str(error))
        if result is not None:
            save_result(result, self._folder)
            yield RunFinished(number, total, result, from_disk=False)

    def _workspace(self, seed: int) -> Workspace:
        """The workspace of a seed; the last one is cached, because runs come seed by seed."""
        if seed != self._seed:
            self._seed = seed
            self._seed_space = seed_workspace(self._space, self._study.images, seed)
        return self._seed_space
