"""The SQLite database of the history: its schema, its updates, and a damaged file."""

import errno
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from pruning_core.types import PruningError

NAME = "runs.sqlite3"
APPLICATION = 0x5052554E
"""SQLite's number of the program that a database belongs to."""
BUSY_SECONDS = 30.0
BESIDE = 1 << 16
"""Bytes that the files need that SQLite makes beside a database."""
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
MIGRATIONS = (
    """
    CREATE TABLE runs (
        id TEXT PRIMARY KEY, parent TEXT, kind TEXT NOT NULL, state TEXT NOT NULL,
        started REAL NOT NULL, record TEXT NOT NULL, note TEXT NOT NULL, tags TEXT NOT NULL,
        pinned INTEGER NOT NULL, deleted REAL
    );
    CREATE TABLE files (
        run TEXT NOT NULL REFERENCES runs ON DELETE CASCADE, name TEXT NOT NULL,
        digest TEXT NOT NULL, PRIMARY KEY (run, name)
    );
    """,
    "ALTER TABLE runs ADD COLUMN worker TEXT",
)
"""Statements that make version 1, 2, ... of the schema from the one before. Only add to the end."""


NEEDED = {
    "runs": ("id", "kind", "state", "started", "record", "note", "tags", "pinned"),
    "files": ("run", "name", "digest"),
}
"""What a row of a damaged database must have to be used."""


class HistoryFailed(PruningError):
    """The history cannot be read or written: no fault of the run that it should keep."""


class Database:
    """The database in a folder. Any thread and any number of processes may use it at once.

    Each use has a connection of its own. sentences: what the user should know, such as that a
    damaged file was set aside. read_only: a sentence why nothing may be written.
    """

    def __init__(self, folder: Path, read_only: str = "") -> None:
        self.folder = folder
        self._read_only = read_only
        self.path = folder / NAME
        self.sentences: tuple[str, ...] = ()
        self._checked = False

    @property
    def read_only(self) -> str:
        """Why nothing can be written, in one sentence; "" where it can."""
        if not self._read_only and self.folder.is_dir() and not os.access(self.folder, os.W_OK):
            return f"The history in {self.folder} can only be read: the folder is read-only."
        return self._read_only

    def check_writable(self) -> None:
        """Raises HistoryFailed where nothing can be written."""
        if self.read_only:
            raise HistoryFailed(self.read_only)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection to read with, also on a full disk. Raises HistoryFailed."""
        with self._connection(read_only=bool(self.read_only) or is_full(self.folder)) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is on disk when the block ends, or nothing. Raises
        HistoryFailed.
        """
        self.check_writable()
        with self._connection(read_only=False) as connection, _transaction(connection):
            yield connection

    @contextmanager
    def _connection(self, *, read_only: bool) -> Iterator[sqlite3.Connection]:
        with self._reported():
            if read_only:
                connected = read_only_connection(self.path)
            else:
                self._check()
                connected = self._connected()
            with closing(connected) as connection:
                yield connection

    def _check(self) -> None:
        """Makes or updates the database, once per object. A damaged file is set aside."""
        if self._checked:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        before = self._file_number()
        try:
            self._update()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            if self._file_number() != before:  # another process has set it aside
                self._update()
            else:
                damaged = self._set_aside()
                self._update()
                self._rescue(damaged)
        self._checked = True

    def _file_number(self) -> int | None:
        return self.path.stat().st_ino if self.path.exists() else None

    def _update(self) -> None:
        with closing(self._connected()) as connection:
            foreign = _pragma(connection, "application_id") != APPLICATION
            if foreign and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                raise _damage("it is the database of another program")
            if (state := _pragma(connection, "quick_check(1)")) != "ok":
                raise _damage(str(state))
            if _pragma(connection, "user_version") == len(MIGRATIONS):
                return
            _pragma(connection, "journal_mode = WAL")
            with _transaction(connection):
                _migrate(connection, self.path)

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _set_aside(self) -> Path:
        """Renames the file and what SQLite keeps beside it; nothing is deleted. The new path."""
        named = f"damaged-{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**6:06}-{NAME}"
        for ending in ("", "-wal", "-shm"):
            path = self.path.with_name(NAME + ending)
            if path.exists():
                path.rename(self.path.with_name(named + ending))
        self.sentences += (
            f"The history {self.path} was damaged: it is now {named} beside it, and a new history "
            "was started.",
        )
        return self.path.with_name(named)

    def _rescue(self, damaged: Path) -> None:
        """Copies the rows that can still be read into the new database."""
        runs = _readable_rows(damaged, "runs")
        known = {row["id"] for row in runs}
        files = [row for row in _readable_rows(damaged, "files") if row["run"] in known]
        with closing(self._connected()) as connection, _transaction(connection):
            for table, rows in (("runs", runs), ("files", files)):
                for row in rows:
                    places = ", ".join("?" * len(row))
                    connection.execute(
                        f"INSERT OR IGNORE INTO {table} ({', '.join(row)}) VALUES ({places})",
                        tuple(row.values()),
                    )
        if runs:
            self.sentences += (f"{len(runs)} runs were read from it.",)

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            self._checked = self._checked and not is_damage(error)
            reason = " ".join(str(getattr(error, "strerror", None) or error).split())
            if is_full(self.folder):
                reason = os.strerror(errno.ENOSPC)  # which SQLite calls an I/O error
            raise HistoryFailed(
                f"The history in {self.folder} cannot be read or written: {reason}."
            ) from error


def is_full(folder: Path) -> bool:
    """Has the disk no space for the files that SQLite makes beside a database?"""
    try:
        disk = os.statvfs(folder)
    except (OSError, AttributeError):  # no such folder; Windows
        return False
    no_file = disk.f_files > 0 and disk.f_favail == 0
    return no_file or disk.f_bavail * disk.f_frsize < BESIDE


def read_only_connection(path: Path) -> sqlite3.Connection:
    """A connection that writes nothing. Without a file the database is empty; that of an older
    version is updated in memory.
    """
    address = ":memory:"
    if path.exists():
        # SQLite keeps a -wal file beside it while another process writes; else nothing changes.
        changing = path.with_name(f"{path.name}-wal").exists()
        address = f"{path.absolute().as_uri()}?mode=ro{'' if changing else '&immutable=1'}"
    file = sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, check_same_thread=False)
    if _pragma(file, "user_version") == len(MIGRATIONS):
        return file
    memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    with closing(file):
        file.backup(memory)
    with _transaction(memory):
        _migrate(memory, path)
    return memory


def _readable_rows(path: Path, table: str) -> list[dict[str, object]]:
    """The rows of a table before its first damaged page, and those after its last one."""
    rows: dict[int, dict[str, object]] = {}
    for order in ("ASC", "DESC"):
        with (
            suppress(sqlite3.Error),
            closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as damaged,
        ):
            cursor = damaged.execute(f"SELECT rowid, * FROM {table} ORDER BY rowid {order}")
            names = [column[0] for column in cursor.description]
            for row in cursor:
                named = dict(zip(names, row, strict=True))
                if all(named.get(name) is not None for name in NEEDED[table]):
                    rows[named.pop("rowid")] = named
    return list(rows.values())


def is_damage(error: BaseException) -> bool:
    """Is the file no database, or a damaged one?"""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGED


def _damage(reason: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(reason)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def _pragma(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    with connection:  # commits, or rolls back after an error
        yield


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Brings the schema to the newest version, inside of a transaction."""
    version = int(str(_pragma(connection, "user_version")))  # another process may have done it
    if version > len(MIGRATIONS):
        raise HistoryFailed(
            f"The history {path} is of version {version}; this program reads up to version "
            f"{len(MIGRATIONS)}. Update Pruning Explorer."
        )
    for script in MIGRATIONS[version:]:
        for statement in script.split(";"):
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
