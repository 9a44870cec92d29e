"""Folders of unfinished jobs: found again after a kill, bounded, and never a traceback."""

import os
import time
from pathlib import Path

import pytest

from pruning_core.history import unfinished
from pruning_core.history.unfinished import Carried, Jobs, jobs_root
from pruning_core.types import PruningError
from tests.core.toy import is_sentence

ONE = "0" * 12
TWO = "1" * 12
THREE = "2" * 12


def begun(jobs: Jobs, job: str, **description: object) -> Carried:
    carried = jobs.begin(job, description)
    assert carried is not None
    return carried


def killed(jobs: Jobs, job: str, **description: object) -> None:
    """A job whose process ends in the middle: its lock ends with it."""
    begun(jobs, job, **description).close(delete=False)


def test_an_interrupted_job_is_found_and_goes_on_once(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "jobs")
    assert jobs.interrupted() == ()
    job = begun(jobs, ONE, kind="train")
    assert job.before is None
    assert jobs.interrupted() == ()
    assert jobs.begin(ONE, {}) is None
    jobs.delete(ONE)  # not while it is carried out
    job.close(delete=False)
    (found,) = jobs.interrupted()
    assert (found.id, dict(found.description)) == (ONE, {"kind": "train"})
    with begun(jobs, ONE, kind="other") as again:
        assert again.before == {"kind": "train"}
    assert jobs.interrupted() == ()


def test_an_error_keeps_a_job_only_where_it_can_go_on(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path)

    def fail(job: Carried, name: str) -> None:
        with job:
            (job.journal.folder / name).touch()
            raise KeyboardInterrupt

    for name in (unfinished.FILE, "training-1"):
        with pytest.raises(KeyboardInterrupt):
            fail(begun(jobs, ONE), name)
        assert (tmp_path / ONE).exists() == (name == "training-1")


def test_old_many_and_large_jobs_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = Jobs(tmp_path)
    for number, job in enumerate((ONE, TWO, THREE)):
        killed(jobs, job, number=number)
        for path in (tmp_path / job).iterdir():
            os.utime(path, (time.time() + number, time.time() + number))

    def left(**limits: float) -> list[str]:
        Jobs(tmp_path, **limits).purge()  # type: ignore[arg-type]
        return [job.id for job in jobs.interrupted()]

    assert left() == [THREE, TWO, ONE]
    assert left(most=2) == [THREE, TWO]
    monkeypatch.setattr(unfinished, "MOST_BYTES", 15)
    assert left() == [THREE]
    assert left(seconds=-10.0) == []


def test_damaged_descriptions_are_no_jobs_and_begin_again(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path)
    for damaged in (b"", b"[1]", b"{", b"\xff", b"[" * 100_000):
        killed(jobs, ONE, kind="train")
        (tmp_path / ONE / unfinished.FILE).write_bytes(damaged)
        (tmp_path / ONE / "training-1").touch()
        assert jobs.interrupted() == ()
        with begun(jobs, ONE) as job:
            assert job.before is None
            assert not (tmp_path / ONE / "training-1").exists()


def test_what_cannot_be_written_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for root, job in ((tmp_path / "file", ONE), (tmp_path, "../../etc")):
        with pytest.raises(PruningError) as refused:
            Jobs(root).begin(job, {})
        assert is_sentence(str(refused.value))
    monkeypatch.setenv("PRUNING_EXPLORER_HISTORY", "off")
    assert jobs_root() is None
