"""Which runs are still carried out: each holds a lock, which ends with its process."""

from pathlib import Path
from uuid import uuid4

from pruning_core.file_locks import lock_file

FOLDER = "workers"


class RunLock:
    """A lock file that is locked until `close`, or until the process ends. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        self.name = uuid4().hex
        self._path = folder / FOLDER / self.name
        self._file = self._path.open("ab")
        lock_file(self._file, wait=False)

    def close(self) -> None:
        """Ends the worker."""
        self._file.close()
        self._path.unlink(missing_ok=True)


def is_alive(folder: Path, name: str) -> bool:
    """Does a process hold the lock of that name?"""
    try:
        with (folder / FOLDER / Path(name).name).open("rb") as file:
            return not lock_file(file, wait=False)
    except OSError:
        return False


def delete_ended(folder: Path) -> None:
    """Deletes the lock files of processes that were killed. Raises OSError."""
    for path in (folder / FOLDER).glob("*"):
        if not is_alive(folder, path.name):
            path.unlink(missing_ok=True)
