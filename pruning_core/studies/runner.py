"""A study, run by run: what is on disk is taken from there, all else is measured and kept at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from pruning_core.pipeline import final_test_split
from pruning_core.studies.run import Result, run_events, seeded
from pruning_core.studies.store import begin, fingerprint, folder_of, keep, kept
from pruning_core.studies.study import Run, Study, wanted
from pruning_core.training.fine_tune import evaluate
from pruning_core.types import Epoch, PruningError, Step
from pruning_core.workspace import Workspace


@dataclass(frozen=True)
class RunStarted:
    """A run starts. number: from 1, of `total`, in the study's order."""

    number: int
    total: int
    run: Run


@dataclass(frozen=True)
class RunFinished:
    """A run is finished and on disk. again: it was there before."""

    number: int
    total: int
    result: Result
    again: bool


@dataclass(frozen=True)
class RunFailed:
    """A run could not be carried out, with the sentence why; nothing is on disk, so that the next
    start tries it again.
    """

    number: int
    total: int
    run: Run
    why: str


Event = RunStarted | Step | Epoch | RunFinished | RunFailed


def study(
    asked: Study, space: Workspace, folder: Path | None = None, device: torch.device | None = None
) -> Iterator[Event]:
    """Yields, for every run that the network can take, Measured at once where the folder has it;
    else Begun, Step and Epoch events, then Measured or Failed. folder: the study's own under
    `studies_root` if left out.

    Stopped anywhere, by closing it or by the end of the process, it goes on with the first run that
    is not on disk; a damaged file counts as not there. Raises PruningError where the network can
    take no run, or the folder cannot be written.
    """
    base = fingerprint(space)
    folder = folder or folder_of(asked, base)
    runs = wanted(asked, space)
    if not runs:
        raise PruningError(
            "No method of the study can cut this network: choose another criterion or shape of a cut."
        )
    begin(asked, base, folder)
    dense = None
    own = (-1, space)
    for number, run in enumerate(runs, 1):
        if (found := kept(run, folder)) is not None:
            yield RunFinished(number, len(runs), found, True)
            continue
        yield RunStarted(number, len(runs), run)
        if dense is None:
            dense = evaluate(
                space.model,
                final_test_split(asked.plan, space),
                outputs=space.dataset.outputs,
                device=device,
            )
        own = own if own[0] == run.seed else (run.seed, seeded(space, asked.images, run.seed))
        try:
            for event in run_events(asked, run, own[1], dense, device):
                if isinstance(event, Result):
                    found = event
                else:
                    yield event
        except PruningError as problem:
            yield RunFailed(number, len(runs), run, str(problem))
            continue
        if found is not None:
            keep(found, folder)
            yield RunFinished(number, len(runs), found, False)
