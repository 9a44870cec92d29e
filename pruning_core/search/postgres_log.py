"""A log of records in a PostgreSQL data base, for workers on several machines."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pruning_core.search.record_log import FileLog, Record, RecordLog, StorageFailed

STORAGE = "PRUNING_EXPLORER_STORAGE"
"""Environment variable: the address of a PostgreSQL data base, as postgresql://user@host/name."""
TABLE = """
    CREATE TABLE IF NOT EXISTS pruning_evaluations (
        number bigserial PRIMARY KEY, study text NOT NULL, record text NOT NULL
    )
"""
SETUP = (0x5052554E, 0)
"""The lock under which the table is made; other locks have the study's number and a slot."""


def open_log(folder: Path, name: str) -> RecordLog:
    """The log of that name: in the data base that `PRUNING_EXPLORER_STORAGE` names, or in a folder.

    Raises StorageFailed where the storage cannot be reached.
    """
    url = os.environ.get(STORAGE, "")
    if not url:
        return FileLog(folder / name)
    if not url.startswith(("postgresql://", "postgres://")):
        raise StorageFailed(f"{STORAGE} must be an address as postgresql://user@host/name.")
    return PostgresLog(url, name)


class PostgresLog:
    """A log in a table. Locks belong to the connection, so they end with the process."""

    def __init__(self, url: str, study: str) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise StorageFailed(
                "The driver of PostgreSQL is not installed here: run "
                "`pip install psycopg psycopg-binary` first."
            ) from error
        self._error = psycopg.Error
        self._study = study
        self._number = int.from_bytes(hashlib.sha256(study.encode()).digest()[:4], signed=True)
        with self._reported():
            self._connection = psycopg.connect(url, autocommit=True)
        with self._lock(SETUP):
            self._ask(TABLE)

    @contextmanager
    def locked(self) -> Iterator[None]:
        with self._lock((self._number, 0)):
            yield

    def read(self, start: int) -> tuple[list[Record], int]:
        rows = self._rows(
            "SELECT number, record FROM pruning_evaluations "
            "WHERE study = %s AND number > %s ORDER BY number",
            self._study,
            start,
        )
        return [json.loads(record) for _, record in rows], rows[-1][0] if rows else start

    def append(self, record: Record) -> None:
        self._ask(
            "INSERT INTO pruning_evaluations (study, record) VALUES (%s, %s)",
            self._study,
            json.dumps(record),
        )

    def take(self, slot: int) -> bool:
        rows = self._rows("SELECT pg_try_advisory_lock(%s, %s)", self._number, slot + 1)
        return bool(rows[0][0])

    def held(self, slot: int) -> bool:
        if not self.take(slot):
            return True
        self._ask("SELECT pg_advisory_unlock(%s, %s)", self._number, slot + 1)
        return False

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _lock(self, key: tuple[int, int]) -> Iterator[None]:
        self._ask("SELECT pg_advisory_lock(%s, %s)", *key)
        try:
            yield
        finally:
            self._ask("SELECT pg_advisory_unlock(%s, %s)", *key)

    def _ask(self, statement: str, *values: Any) -> None:
        with self._reported():
            self._connection.execute(statement, values)

    def _rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._reported():
            return list(self._connection.execute(statement, values))

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except self._error as error:
            raise StorageFailed(
                f"The data base that {STORAGE} names cannot be used: "
                f"{' '.join(str(error).split())}."
            ) from error
