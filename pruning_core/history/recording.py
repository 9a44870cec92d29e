"""Keeps runs while they are carried out: running, then finished, failed or interrupted."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import TypeVar

import torch

from pruning_core.history.history import History
from pruning_core.history.records import (
    Kept,
    finished_records,
    search_record,
    search_records,
    study_record,
    study_run,
)
from pruning_core.history.run import FAILED, INTERRUPTED, Run
from pruning_core.history.run_locks import RunLock
from pruning_core.history.tensors import curves_of
from pruning_core.plan import Plan
from pruning_core.search.run import SearchResult, SearchSettings
from pruning_core.sensitivity.points import POINTS, pack_points
from pruning_core.studies import RunFailed, RunFinished, Study
from pruning_core.types import (
    Epoch,
    Finished,
    PruningError,
    ResourceFailed,
    SensitivityPoint,
    Step,
)
from pruning_core.workspaces import Workspace

Event = TypeVar("Event")
Update = tuple[int, float]
"""The optimizer steps before a mask update, and the value after it."""


@dataclass(frozen=True)
class Keeping:
    """An event just before the last one: which run is kept now, or the sentence why it is not."""

    run: Run
    sentence: str

    @property
    def words(self) -> str:
        """One line for a terminal."""
        return self.sentence or f"kept in the run history as {self.run.id}"


class Recording:
    """Keeps a run, whatever happens to it.

    A block that ends without `finish` failed with its PruningError, or was interrupted: also where
    its process was ended (ResourceFailed). The history's own failures end in `keeping.sentence`,
    never in an error: they do not break the run.

    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     history = History(Path(folder))
    ...     with Recording(history, Run("tune", Plan().to_json(), "")) as recording:
    ...         during = history.runs()[0].state
    ...     after = history.runs()[0].state
    >>> during, after
    ('running', 'interrupted')
    """

    def __init__(self, history: History, run: Run) -> None:
        self.run = run
        self.sentence = ""
        self._history = history
        self._finished = False
        self._lock: RunLock | None = None

    @property
    def keeping(self) -> Keeping:
        """What became of the run."""
        return Keeping(self.run, " ".join((self.sentence, *self._history.sentences)).strip())

    def __enter__(self) -> "Recording":
        try:
            self._lock = self._history.begin(self.run)
        except PruningError as error:
            self._failed(error)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._finished:
            known = isinstance(error, PruningError)
            failed = known and not isinstance(error, ResourceFailed)
            ended = replace(self.run, seconds=self._seconds(), sentence=str(error) if known else "")
            self.add(replace(ended, state=FAILED if failed else INTERRUPTED))
        if self._lock is not None:
            self._lock.close()

    def finish(self, make: Callable[[], Iterable[Kept]]) -> Keeping:
        """Keeps what `make` gives: the finished run in the place of the running one, then others
        that it made.
        """
        self._finished = True
        try:
            for number, (run, files) in enumerate(make()):
                own = replace(run, id=self.run.id, seconds=self._seconds())
                self._history.save(run if number else own, files)
        except PruningError as error:
            self._failed(error)
        return self.keeping

    def add(self, run: Run) -> None:
        """Keeps another run."""
        try:
            self._history.save(run)
        except PruningError as error:
            self._failed(error)

    def _seconds(self) -> float:
        return time.time() - self.run.started

    def _failed(self, error: PruningError) -> None:
        self.sentence = f"This run is not in the history. {error}"


def kept_run(
    history: History | None,
    start: Run,
    plan: Plan,
    space: Workspace,
    events: Iterator[Event],
    *,
    device: torch.device | None = None,
    update: Callable[[object], Update | None] = lambda event: None,
) -> Iterator[Event | Keeping]:
    """The events of a run that ends in Finished, and Keeping before that. start: the new run.

    update: what the curves show of an event that is a mask update; None for other events.
    """
    if history is None:
        yield from events
        return
    trained: list[Step | Epoch] = []
    updates: list[Update] = []
    with Recording(history, start) as recording:
        for event in events:
            if isinstance(event, Step | Epoch):
                trained.append(event)
            elif (pair := update(event)) is not None:
                updates.append(pair)
            elif isinstance(event, Finished):
                curves = curves_of(trained, updates)
                ended = partial(finished_records, start, plan, space, event, curves, device)
                yield recording.finish(ended)
            yield event


def kept_study(
    history: History | None,
    study: Study,
    fingerprint: str,
    space: Workspace,
    events: Iterator[Event],
    device: torch.device | None = None,
) -> Iterator[Event | Keeping]:
    """The events of `studies.run_study`, and Keeping at the end; each run is kept at once."""
    if history is None:
        yield from events
        return
    parent = study_record(study, fingerprint, space.dataset.task)
    known = _known(history)
    with Recording(history, parent) as recording:
        for event in events:
            if isinstance(event, RunFinished):
                run = study_run(parent, study, event.result, device)
                if run.id not in known:
                    recording.add(run)
            elif isinstance(event, RunFailed):
                recording.add(study_run(parent, study, event, device))
            yield event
        yield recording.finish(lambda: [(parent, {})])


def kept_search(
    history: History | None,
    plan: Plan,
    settings: SearchSettings,
    fingerprint: str,
    space: Workspace,
    events: Iterator[Event],
) -> Iterator[Event | Keeping]:
    """The events of `search`, and Keeping before SearchResult: the search and its best ones."""
    if history is None:
        yield from events
        return
    start = search_record(plan, settings, fingerprint, space.dataset.task)
    with Recording(history, start) as recording:
        for event in events:
            if isinstance(event, SearchResult):
                yield recording.finish(partial(search_records, start, space, event))
            yield event


def kept_scan(
    history: History | None, start: Run, events: Iterator[Event]
) -> Iterator[Event | Keeping]:
    """The events of a scan, and Keeping after its last point. start: by `scan_record`."""
    if history is None:
        yield from events
        return
    points: list[SensitivityPoint] = []
    with Recording(history, start) as recording:
        for event in events:
            if isinstance(event, SensitivityPoint):
                points.append(event)
            yield event
        yield recording.finish(lambda: [(start, {POINTS: pack_points(points)})])


def _known(history: History) -> set[str]:
    """The ids of all runs, deleted ones included; none where the history cannot be read."""
    with suppress(PruningError):
        return {run.id for deleted in (False, True) for run in history.runs(deleted=deleted)}
    return set()
