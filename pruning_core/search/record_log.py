"""Append-only logs of JSON records that several processes share, and locks that end with them."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Protocol, runtime_checkable

from pruning_core.file_locks import lock_file
from pruning_core.types import ResourceFailed

Record = dict[str, Any]


class StorageFailed(ResourceFailed):
    """What is kept cannot be read or written."""


@runtime_checkable
class RecordLog(Protocol):
    """Records in the order in which they were appended, and numbered slots, one for each worker.

    A slot's lock ends with the process that holds it, however that process ends. Every method
    raises StorageFailed where the storage cannot be reached.
    """

    def locked(self) -> AbstractContextManager[None]:
        """Other processes wait meanwhile. Records are read and slots are tried inside of it."""
        ...

    def read(self, start: int) -> tuple[list[Record], int]:
        """The records from a position on, 0 for all of them, and the position after them."""
        ...

    def append(self, record: Record) -> None:
        """Adds a record; when this returns, it outlasts a kill of this process."""
        ...

    def take(self, slot: int) -> bool:
        """Takes the slot's lock until `close`; False where another worker holds it."""
        ...

    def held(self, slot: int) -> bool:
        """Does another worker hold the slot's lock?"""
        ...

    def close(self) -> None:
        """Releases the slots that this log took."""
        ...


class FileLog:
    """A log in a folder: `evaluations.jsonl`, one record per line, and lock files beside it.

    Several processes of one machine share it, or of several machines where their file system has
    locks.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "evaluations.jsonl"
        self._slots: dict[int, IO[bytes]] = {}
        with self._reported():
            folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        with self._reported():
            file = (self.folder / "log.lock").open("ab")
        with file:
            lock_file(file, wait=True)
            yield

    def read(self, start: int) -> tuple[list[Record], int]:
        with self._reported(), suppress(FileNotFoundError), self.path.open("rb") as file:
            file.seek(start)
            whole = file.read().rpartition(b"\n")[0]
            records = (_record(line) for line in whole.splitlines())
            end = start + len(whole) + 1 if whole else start
            return [record for record in records if record], end
        return [], start

    def append(self, record: Record) -> None:
        with self._reported(), self.path.open("a+b") as file:
            file.seek(max(0, file.seek(0, 2) - 1))
            # Another worker may append meanwhile: only the byte that was last counts.
            torn = file.read(1) not in (b"", b"\n")  # a worker was killed while it wrote
            file.write(b"\n" * torn + json.dumps(record).encode() + b"\n")

    def take(self, slot: int) -> bool:
        file = self._open_slot(slot)
        if not lock_file(file, wait=False):
            file.close()
            return False
        self._slots[slot] = file
        return True

    def held(self, slot: int) -> bool:
        with self._open_slot(slot) as file:
            return not lock_file(file, wait=False)

    def close(self) -> None:
        while self._slots:
            self._slots.popitem()[1].close()

    def _open_slot(self, slot: int) -> IO[bytes]:
        with self._reported():
            return (self.folder / f"worker{slot}.lock").open("ab")

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StorageFailed(
                f"The evaluations in {self.folder} cannot be read or written: {error}."
            ) from error


def _record(line: bytes) -> Record | None:
    """The record of a line; None where a worker was killed while it wrote the line."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
