"""Files that are written whole or not at all, also on a full disk."""

import errno
import os
from pathlib import Path

import pytest

from pruning_core.types import PruningError
from pruning_core.whole_files import write_file, write_files


def test_files_are_replaced_and_links_stay(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("a.txt")
    write_files(tmp_path, {"a.txt": "new\n", "b.bin": b"\x00\xff"})
    assert (tmp_path / "a.txt").read_bytes() == b"new\n"
    assert (tmp_path / "b.bin").read_bytes() == b"\x00\xff"
    write_file(tmp_path / "link.txt", "through the link")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "a.txt").read_text() == "through the link"
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "b.bin", "link.txt"]


def test_a_kill_leaves_files_of_one_result_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.txt", "b.txt", "c.txt", "mine.txt"):
        (tmp_path / name).write_text("old")
    rename = os.replace
    seen = []

    def look(path: Path, target: Path) -> None:
        rename(path, target)
        shown = {own.name: own.read_text() for own in tmp_path.glob("[a-z]*")}
        seen.append(sorted(name for name, text in shown.items() if text == "old"))

    monkeypatch.setattr(os, "replace", look)
    write_files(tmp_path, {"a.txt": "new", "b.txt": "new"}, ("a.txt", "b.txt", "c.txt"))
    assert seen == [["mine.txt"], ["mine.txt"]]
    assert (tmp_path / "b.txt").read_text() == "new"


def test_a_device_is_written_directly() -> None:
    write_file(Path("/dev/null"), "text")
    assert not Path("/dev/null").is_file()
    with pytest.raises(PruningError, match="Cannot write to /dev/full: No space left on device"):
        write_file(Path("/dev/full"), "text")


def test_a_full_disk_changes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("old")
    ordinary = os.fsync

    def fill_the_disk(file: int) -> None:
        ordinary(file)
        if (tmp_path / f".b.txt.{os.getpid()}").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fill_the_disk)
    sentence = f"Cannot write a.txt, b.txt to the folder {tmp_path}: No space left on device. "
    with pytest.raises(PruningError, match=sentence):
        write_files(tmp_path, {"a.txt": "new", "b.txt": "new"})
    assert (tmp_path / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]
