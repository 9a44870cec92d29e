"""The history: every run that is kept, in a database with files beside it."""

import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pruning_core.history.database import Database, HistoryFailed
from pruning_core.history.run import (
    INTERRUPTED,
    RUNNING,
    Run,
    checked_note,
    checked_tags,
    from_record,
    to_record,
)
from pruning_core.history.run_locks import RunLock, delete_ended, is_alive
from pruning_core.history.tensor_files import TensorFiles
from pruning_core.types import PruningError
from pruning_core.zoo import data_root

VARIABLE = "PRUNING_EXPLORER_HISTORY"
"""Environment variable: the folder of the history, or off."""
OFF = "off"
UNDO_SECONDS = 30 * 24 * 3600.0
"""How long a deleted run can be restored."""
COLUMNS = "id, parent, kind, state, started, record, note, tags, pinned, deleted, worker"


def history_root() -> Path | None:
    """The folder of the history: `history` beside the data, or as PRUNING_EXPLORER_HISTORY says.

    None where it says off: then no run is kept.
    """
    named = os.environ.get(VARIABLE, "")
    if named == OFF:
        return None
    return Path(named).expanduser() if named else data_root() / "history"


class History:
    """The runs in a folder. Any thread and any number of processes may use it at once.

    read_only: a sentence why nothing may be written; "" where the folder decides.
    All methods raise HistoryFailed, in one sentence, where the folder cannot be used.

    >>> import tempfile
    >>> from pruning_core import Plan
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     history = History(Path(folder))
    ...     run = Run("plan", Plan().to_json(), "no network")
    ...     history.save(run, {"curves": b"[]"})
    ...     history.get(run.id[:6]).files.keys() == {"curves"}
    True
    """

    def __init__(self, folder: Path, read_only: str = "") -> None:
        self.folder = folder
        self._database = Database(folder, read_only)
        self._files = TensorFiles(folder)
        self._unreadable = 0

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the user should know, such as that a damaged database was set aside."""
        return self._database.sentences

    @property
    def read_only(self) -> str:
        """Why nothing can be written, in one sentence; "" where it can."""
        return self._database.read_only

    @property
    def reading_notes(self) -> tuple[str, ...]:
        """`sentences`, and how many runs the last reading left out."""
        if not self._unreadable:
            return self.sentences
        note = (
            f"Runs of the history that this version cannot read: {self._unreadable}. They stay "
            "stored: open the history with the version that wrote them."
        )
        return (*self.sentences, note)

    def begin(self, run: Run) -> RunLock:
        """Keeps a run as running until the lock is closed or its process ends."""
        self._database.check_writable()
        try:
            lock = RunLock(self.folder)
        except OSError as error:
            raise HistoryFailed(
                f"The history in {self.folder} cannot be written: {error.strerror}."
            ) from error
        try:
            self.save(replace(run, state=RUNNING), worker=lock.name)
        except HistoryFailed:
            lock.close()
            raise
        return lock

    def save(
        self, run: Run, files: Mapping[str, bytes] | None = None, worker: str | None = None
    ) -> None:
        """Keeps a run and its files. When this returns, they outlast a kill of the process.

        A run of the same id is replaced; the user's note, tags and pin stay. worker: of a run that
        is still carried out.
        """
        record = to_record(run)
        values = (run.id, run.parent, run.kind, run.state, run.started, record)
        own = (run.note, json.dumps(run.tags), run.pinned, run.deleted)
        with self._database.writing() as connection:  # so that no `purge` runs meanwhile
            written = {name: self._files.write(content) for name, content in (files or {}).items()}
            connection.execute(
                f"INSERT INTO runs ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET parent = excluded.parent, kind = excluded.kind, "
                "state = excluded.state, started = excluded.started, record = excluded.record, "
                "deleted = NULL, worker = excluded.worker",
                (*values, *own, worker),
            )
            for name, digest in (dict(run.files) | written).items():
                connection.execute(
                    "INSERT OR REPLACE INTO files (run, name, digest) VALUES (?, ?, ?)",
                    (run.id, name, digest),
                )

    def runs(self, *, deleted: bool = False) -> tuple[Run, ...]:
        """All runs, or all deleted ones; the newest first. Those that this version cannot read are
        left out, and counted in `reading_notes`."""
        return self._select("deleted IS NOT NULL" if deleted else "deleted IS NULL", ())

    def get(self, name: str) -> Run:
        """The run whose id is or begins with `name`, deleted or not.

        Raises PruningError where there is none, or more than one.
        """
        escaped = name.lower() if name.isalnum() else ""
        runs = self._select("id LIKE ?", (f"{escaped}%",)) if escaped else ()
        if len(runs) == 1:
            return runs[0]
        if runs:
            raise PruningError(
                f"The history has more than one run whose id begins with '{name[:40]}'."
            )
        raise PruningError(f"The history has no run whose id begins with '{name[:40]}'.")

    def has(self, run: str) -> bool:
        """Is there a run with this id that is not deleted?"""
        return any(row.deleted is None for row in self._select("id = ?", (run,)))

    def change(
        self,
        run: str,
        *,
        note: str | None = None,
        tags: Iterable[str] | None = None,
        pinned: bool | None = None,
    ) -> None:
        """Sets what the user writes to a run. Raises PruningError for what is too long."""
        given: dict[str, Any] = {
            "note": None if note is None else checked_note(note),
            "tags": None if tags is None else json.dumps(checked_tags(tags)),
            "pinned": None if pinned is None else int(pinned),
        }
        with self._database.writing() as connection:
            for column, value in given.items():
                if value is not None:
                    connection.execute(f"UPDATE runs SET {column} = ? WHERE id = ?", (value, run))

    def delete(self, runs: Iterable[str]) -> None:
        """Hides runs. `restore` brings them back for `UNDO_SECONDS`; then `purge` removes them.

        Raises PruningError, and hides none, where one still runs.
        """
        names = tuple(runs)
        for run in (run for name in names for run in self._select("id = ?", (name,))):
            if run.state == RUNNING:
                raise PruningError(f"The run {run.id} still runs: stop it first, then delete it.")
        self._mark(names, time.time())
        self.purge()

    def restore(self, runs: Iterable[str]) -> None:
        """Shows deleted runs again."""
        self._mark(runs, None)

    def purge(self, older: float = UNDO_SECONDS) -> None:
        """Removes runs that were deleted `older` seconds ago or earlier, and files of no run."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM runs WHERE deleted <= ?", (time.time() - older,))
            used = {digest for (digest,) in connection.execute("SELECT digest FROM files")}
            self._files.delete_others(used)
            delete_ended(self.folder)

    def file(self, run: Run, name: str) -> bytes | None:
        """The run's file of that name; None where it has none. Raises HistoryFailed."""
        return self._files.read(run.files[name]) if name in run.files else None

    def _mark(self, runs: Iterable[str], deleted: float | None) -> None:
        with self._database.writing() as connection:
            connection.executemany(
                "UPDATE runs SET deleted = ? WHERE id = ?", [(deleted, run) for run in runs]
            )

    def _select(self, condition: str, values: tuple[object, ...]) -> tuple[Run, ...]:
        files = "SELECT json_group_object(name, digest) FROM files WHERE run = id"
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {COLUMNS}, ({files}) FROM runs WHERE {condition} "
                "ORDER BY started DESC, id",
                values,
            ).fetchall()
        runs = tuple(run for row in rows if (run := _run(row, self.folder)) is not None)
        self._unreadable = len(rows) - len(runs)
        return runs


def _run(row: tuple[Any, ...], folder: Path) -> Run | None:
    """The run of a row; None where its record cannot be read, such as one of a newer version.

    A run whose process ended before the run was finished was interrupted.
    """
    identity, parent, kind, state, started, record, note, tags, pinned, deleted, worker, files = row
    if state == RUNNING and not (worker and is_alive(folder, worker)):
        state = INTERRUPTED
    try:
        return from_record(
            record,
            id=identity,
            parent=parent,
            kind=kind,
            state=state,
            started=started,
            note=note,
            tags=tuple(json.loads(tags)),
            pinned=bool(pinned),
            deleted=deleted,
            files=json.loads(files),
        )
    except (PruningError, ValueError, TypeError):
        return None
