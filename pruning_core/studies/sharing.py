"""Several processes carry out one study: each run is locked by the process that carries it out."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pruning_core.file_locks import lock_file
from pruning_core.studies.store import file_name
from pruning_core.studies.study import Run
from pruning_core.types import PruningError

LOCKS = "locks"
"""The folder of the lock files, in the study's folder."""
POLL = 0.2
"""Seconds between two looks at a run of another process."""
LOOKS = 25
"""Looks between two RunElsewhere events."""

Numbered = tuple[int, Run]


@dataclass(frozen=True)
class RunElsewhere:
    """Another process carries out this run; this one waits for it."""

    number: int
    total: int
    run: Run


def held_runs(
    folder: Path, runs: Iterable[Numbered], total: int
) -> Iterator[Numbered | RunElsewhere]:
    """Yields each run while this process holds its lock. Runs of other processes come last.

    It waits for those, with RunElsewhere events, until their process saves them or ends. So look
    for a saved result whenever a run is yielded. Raises PruningError where no lock can be made.
    """
    elsewhere = []
    for number, run in runs:
        with _held(folder, run) as held:
            if held:
                yield number, run
            else:
                elsewhere.append((number, run))
    for number, run in elsewhere:
        looks = 0
        while True:
            with _held(folder, run) as held:
                if held:
                    yield number, run
                    break
            if looks % LOOKS == 0:
                yield RunElsewhere(number, total, run)
            looks += 1
            time.sleep(POLL)


@contextmanager
def _held(folder: Path, run: Run) -> Iterator[bool]:
    """Holds the lock of a run; False where another process has it. The lock ends with a process."""
    path = folder / LOCKS / file_name(run)
    try:
        path.parent.mkdir(exist_ok=True)
        file = path.open("ab")
        held = lock_file(file, wait=False)
    except OSError as error:
        raise PruningError(f"The run cannot be locked in {path.parent}: {error}.") from error
    with file:
        yield held
    if held:
        path.unlink(missing_ok=True)
