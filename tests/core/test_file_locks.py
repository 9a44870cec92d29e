"""Locks of files on Windows, by a stand-in for its module; on POSIX `test_study` tests them."""

import runpy
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import pytest

from pruning_core import file_locks


def test_windows_locks_one_byte_and_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: dict[int, int] = {}
    places = []

    def locking(number: int, mode: int, size: int) -> None:
        places.append((mode, size))
        if held:
            raise PermissionError(13, "locked")
        held[number] = size

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(LK_NBLCK=2, locking=locking))
    lock_file = runpy.run_path(file_locks.__file__)["lock_file"]

    def lock(file: IO[bytes], wait: bool) -> bool:
        return bool(lock_file(file, wait=wait))

    with (tmp_path / "a").open("ab") as one, (tmp_path / "a").open("ab") as two:
        assert lock(one, False)
        assert not lock(two, False)
        threading.Timer(0.05, held.clear).start()
        assert lock(two, True)
    assert set(places) == {(2, 1)}
