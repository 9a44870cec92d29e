"""Jobs that are carried out now or were interrupted: a folder for each, with what it needs to go
on.

    jobs/0a1b.../job.json   what the job is
    jobs/0a1b.../lock       locked while a process carries the job out
    jobs/0a1b.../training-1, points, ...   what its journal keeps
"""

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from pruning_core.file_locks import lock_file
from pruning_core.history.history import history_root
from pruning_core.history.run import ID
from pruning_core.training.journal import DONE, Journal
from pruning_core.types import PruningError
from pruning_core.whole_files import write_files
from pruning_core.zoo import results_root

FILE = "job.json"
LOCK = "lock"
LARGEST_FILE = 1 << 22
MOST = 60
"""Most interrupted jobs that are kept, by default."""
MOST_BYTES = 8 << 30
"""Most bytes of interrupted jobs that are kept."""
SECONDS = 7 * 24 * 3600.0
"""How long interrupted jobs are kept, by default."""
Description = Mapping[str, Any]
"""What a job is, as JSON values."""


def jobs_root() -> Path | None:
    """The folder of jobs, beside the data; None where no history is kept."""
    return None if history_root() is None else results_root() / "jobs"


@dataclass(frozen=True)
class Interrupted:
    """A job that no process carries out. changed: seconds of `time.time` of its newest file.

    done: how many epochs or layers are kept of it.
    """

    id: str
    description: Description
    changed: float
    bytes: int
    done: int


class Carried:
    """A job that this process carries out. As a context, it is deleted at the end; where an error
    ends it, it stays as interrupted if there is something to continue from.

    before: the description of the interrupted job that continues here; None for a new one.
    """

    def __init__(self, folder: Path, lock: IO[bytes], before: Description | None) -> None:
        self.id = folder.name
        self.before = before
        self.journal = Journal(folder)
        self._folder = folder
        self._lock = lock

    def __enter__(self) -> "Carried":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        names = {path.name for path in self._folder.glob("*")}
        self.close(delete=error is None or names <= {FILE, LOCK})

    def close(self, *, delete: bool) -> None:
        """Ends the job here. delete: it is not continued later."""
        self._lock.close()
        if delete:
            shutil.rmtree(self._folder, ignore_errors=True)


class Jobs:
    """The jobs in a folder. Any number of processes may use it at once.

    most: interrupted jobs that are kept, the newest ones; seconds: how long each is kept.
    """

    def __init__(self, root: Path, most: int = MOST, seconds: float = SECONDS) -> None:
        self.root = root
        self._most = most
        self._seconds = seconds

    def begin(self, job: str, description: Description) -> Carried | None:
        """Carries a job out: a new one, or the interrupted one of that id. None where another
        process carries it out now. job: 12 hexadecimal digits.

        Raises PruningError where the folder cannot be written.
        """
        self.purge()
        folder = self._folder(job)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / LOCK).open("ab")
        except OSError as error:
            raise PruningError(
                f"The folder {folder} cannot be written, so that this run could not continue after "
                f"an interruption: {error.strerror}."
            ) from error
        if not lock_file(lock, wait=False):
            lock.close()
            return None
        before = _read(folder)
        if before is None:
            _empty(folder)
            try:
                write_files(folder, {FILE: json.dumps(description)})
            except PruningError:
                lock.close()
                raise
        return Carried(folder, lock, before)

    def interrupted(self) -> tuple[Interrupted, ...]:
        """The jobs that no process carries out, the newest first; without damaged ones."""
        interrupted = (self._interrupted(path) for path in self.root.glob("*"))
        jobs = [job for job in interrupted if job is not None and job.description]
        return tuple(sorted(jobs, key=lambda job: -job.changed))

    def delete(self, job: str) -> None:
        """Deletes an interrupted job."""
        if self._interrupted(self._folder(job)) is not None:
            shutil.rmtree(self._folder(job), ignore_errors=True)

    def purge(self) -> None:
        """Deletes interrupted jobs that are too old, too many or too large together."""
        interrupted = [self._interrupted(path) for path in self.root.glob("*")]
        total = 0
        jobs = sorted((job for job in interrupted if job is not None), key=lambda job: -job.changed)
        for number, job in enumerate(jobs, start=1):
            total += job.bytes
            old = time.time() - job.changed > self._seconds
            if old or number > self._most or total > MOST_BYTES:
                self.delete(job.id)

    def _folder(self, job: str) -> Path:
        if not ID.fullmatch(job):
            raise PruningError("A job has no valid id.")
        return self.root / job

    def _interrupted(self, folder: Path) -> Interrupted | None:
        """The job, with an empty description where it is damaged; None where it is carried out."""
        try:
            if not ID.fullmatch(folder.name) or not folder.is_dir():
                return None
            with (folder / LOCK).open("ab") as lock:
                if not lock_file(lock, wait=False):
                    return None
                files = [path.stat() for path in folder.iterdir()]
        except OSError:
            return None
        changed = max(file.st_mtime for file in files)
        size = sum(file.st_size for file in files)
        return Interrupted(folder.name, _read(folder) or {}, changed, size, _done(folder))


def _read(folder: Path) -> Description | None:
    """The description; None where there is none, or a damaged one."""
    path = folder / FILE
    try:
        if path.stat().st_size > LARGEST_FILE:
            return None
        description = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return description if isinstance(description, dict) else None


def _done(folder: Path) -> int:
    try:
        return int((folder / DONE).read_text()[:9])
    except (OSError, ValueError):
        return 0


def _empty(folder: Path) -> None:
    """Deletes what a job without a readable description has left."""
    for path in folder.iterdir():
        if path.name != LOCK:
            path.unlink(missing_ok=True)
