"""Runs in the database: kept, changed, deleted with undo; old versions, damage, full disks."""

import json
import os
import random
import signal
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pruning_core.history import History, HistoryFailed, database, history_root
from pruning_core.history.database import MIGRATIONS, NAME, Database
from pruning_core.history.history import OFF, VARIABLE
from pruning_core.history.run import from_record, to_record
from pruning_core.history.tensors import unpack_curves
from pruning_core.sensitivity.points import unpack_points
from pruning_core.tasks import TASKS, Task
from pruning_core.types import PruningError
from tests.core.history.history_runs import example

KILLS = 5


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path)


def test_a_run_comes_back_equal_with_its_files(history: History) -> None:
    own = Task(name="mine:task", label="Mine", value_label="score", higher_is_better=False, low=0.0)
    run = example(task=own, settings={"images": 256}, machine={"threads": 1})
    history.save(run, {"masks": b"01", "curves": b"[]"})
    kept = History(history.folder).get(run.id[:8])
    assert kept.files.keys() == {"masks", "curves"}
    assert replace(kept, files={}) == run
    assert history.file(kept, "masks") == b"01"
    assert history.file(kept, "weights") is None
    assert kept.read_plan().to_json() == run.plan
    for task in TASKS.values():
        run = example(task=task)
        own_fields = {"id": run.id, "kind": run.kind, "started": run.started}
        assert from_record(to_record(run), **own_fields) == run


def test_a_run_that_is_kept_again_has_its_note_and_is_there_once(history: History) -> None:
    run = example()
    history.save(run)
    history.change(run.id, note="good", tags=["a ", "b", "a"], pinned=True)
    history.save(example(id=run.id, seconds=9.0))
    (kept,) = history.runs()
    assert (kept.note, kept.tags, kept.pinned, kept.seconds) == ("good", ("a", "b"), True, 9.0)
    for wrong in ({"note": "x" * 3000}, {"tags": ["x" * 50]}, {"tags": map(str, range(30))}):
        with pytest.raises(PruningError, match="at most"):
            history.change(run.id, **wrong)


def test_delete_can_be_undone_until_the_run_is_purged(history: History) -> None:
    kept = example()
    deleted = example()
    for run in (kept, deleted):
        history.save(run, {"masks": run.id.encode(), "curves": b"shared"})
    history.delete([deleted.id])
    assert [run.id for run in history.runs()] == [kept.id]
    assert [run.id for run in history.runs(deleted=True)] == [deleted.id]
    history.restore([deleted.id])
    assert len(history.runs()) == 2
    history.delete([deleted.id])
    history.purge(older=0.0)
    assert not history.runs(deleted=True)
    files = {path.read_bytes() for path in history.folder.glob("files/*/*")}
    assert files == {kept.id.encode(), b"shared"}


def test_the_run_of_a_beginning_is_the_only_one_with_it(history: History) -> None:
    for identity in ("aaa000000000", "aab000000000"):
        history.save(example(id=identity))
    assert history.get("AAB").id == "aab000000000"
    for name, count in {"aa": "more than one", "": "no run", "%": "no run", "c": "no run"}.items():
        with pytest.raises(PruningError, match=count):
            history.get(name)


def test_two_objects_share_a_database(history: History) -> None:
    other = History(history.folder)
    for number in range(6):
        (history, other)[number % 2].save(example())
    assert history.runs() == other.runs()
    assert len(other.runs()) == 6


def test_an_old_database_opens_after_an_update(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = example()
    old = sqlite3.connect(history.folder / NAME)
    old.executescript(MIGRATIONS[0])
    old.execute(
        "INSERT INTO runs VALUES (?, NULL, 'tune', 'finished', 1.0, ?, '', '[]', 0, NULL)",
        (run.id, to_record(run)),
    )
    old.execute(f"PRAGMA application_id = {database.APPLICATION}")
    old.execute("PRAGMA user_version = 1")
    old.commit()
    old.close()
    assert History(history.folder).get(run.id).values == run.values
    newer = (*MIGRATIONS, "ALTER TABLE runs ADD COLUMN later TEXT; CREATE TABLE more (name TEXT)")
    with monkeypatch.context() as future:
        future.setattr(database, "MIGRATIONS", newer)
        opened = History(history.folder)
        assert [kept.id for kept in opened.runs()] == [run.id]
        opened.save(example())
    with pytest.raises(HistoryFailed, match=rf"version {len(newer)}.* up to version"):
        History(history.folder).runs()
    assert not list(history.folder.glob("damaged*"))


def damages(path: Path) -> Iterator[str]:
    """Damages the database in one way after another; yields the way."""
    for name, content in {"empty bytes": bytes(9000), "text": b"no database " * 99}.items():
        path.write_bytes(content)
        yield name
    head = path.read_bytes()[:1024]
    path.write_bytes(head + random.Random(0).randbytes(40_000))
    yield "damaged pages"
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE mine (name TEXT)")
    other.close()
    yield "another program's database"


def test_a_damaged_database_is_set_aside_and_never_deleted(history: History) -> None:
    history.save(example())
    path = history.folder / NAME
    for count, damage in enumerate(damages(path), 1):
        content = path.read_bytes()
        new = History(history.folder)
        assert new.runs() == (), damage
        (sentence,) = new.sentences
        assert "was damaged" in sentence
        kept = [file.read_bytes() for file in history.folder.glob(f"damaged-*{NAME}")]
        assert len(kept) == count
        assert content in kept, damage
        new.save(example())
        assert len(History(history.folder).runs()) == 1


def test_runs_of_a_damaged_database_that_can_be_read_are_there_again(history: History) -> None:
    kept = [example(started=float(number)) for number in range(12)]
    for run in kept:
        history.save(run, {"masks": b"01"})
    path = history.folder / NAME
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = b"\xff" * 4096
    path.write_bytes(content)
    new = History(history.folder)
    runs = new.runs()
    assert 3 <= len(runs) < 12
    assert {run.id for run in runs} <= {run.id for run in kept}
    assert all(new.file(run, "masks") == b"01" for run in runs if run.files)
    assert new.sentences[1] == f"{len(runs)} runs were read from it."


def test_runs_that_this_version_cannot_read_are_counted(history: History) -> None:
    history.save(example())
    other = sqlite3.connect(history.folder / NAME)
    other.execute(
        "INSERT INTO runs SELECT '0123456789ab', parent, kind, state, started, '{}', note, tags, "
        "pinned, deleted, worker FROM runs"
    )
    other.commit()
    other.close()
    assert len(history.runs()) == 1
    assert history.reading_notes == (
        "Runs of the history that this version cannot read: 1. They stay stored: open the history "
        "with the version that wrote them.",
    )


def test_a_full_disk_and_a_missing_folder_give_one_sentence(
    history: History, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = example()
    history.save(run, {"masks": b"01"})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        with pytest.raises(PruningError, match=r"Cannot write .* No space left on device"):
            history.save(example(), {"masks": b"other"})
    assert [path.read_bytes() for path in history.folder.glob("files/*/*")] == [b"01"]
    assert [kept.id for kept in history.runs()] == [run.id]
    file = tmp_path / "a file"
    file.write_text("")
    with pytest.raises(HistoryFailed, match="cannot be read or written"):
        History(file / "history").save(run)


def test_runs_can_be_read_on_a_full_disk(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    run = example()
    history.save(run)

    def full(*_: object, **named: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(database, "is_full", lambda folder: True)
    monkeypatch.setattr(Database, "_connected", full)
    assert [own.id for own in History(history.folder).runs()] == [run.id]
    with pytest.raises(HistoryFailed, match=r"read or written: No space left on device\.$"):
        history.save(example())


def test_a_damaged_file_beside_the_database_is_reported(history: History) -> None:
    run = example()
    history.save(run, {"masks": b"01"})
    (path,) = history.folder.glob("files/*/*")
    path.write_bytes(b"02")
    with pytest.raises(HistoryFailed, match="is damaged"):
        history.file(history.get(run.id), "masks")
    path.unlink()
    with pytest.raises(HistoryFailed, match="cannot be read"):
        history.file(history.get(run.id), "masks")


def write_runs(history: History, reported: int) -> None:
    for number in range(10**6):
        run = example(settings={"number": number})
        history.save(run, {"masks": str(number).encode() * 20_000})
        os.write(reported, f"{run.id}\n".encode())


def killed_writer(folder: Path, seconds: float) -> list[str]:
    """The runs that a process reported as kept before it was killed; a fork, so that it starts at
    once.
    """
    reader, writer = os.pipe()
    if not (child := os.fork()):
        try:
            write_runs(History(folder), writer)
        finally:
            os._exit(1)
    os.close(writer)
    with open(reader, "rb") as reported:
        first = reported.readline()
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return [line.decode().strip() for line in (first, *reported)]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_kills_lose_no_finished_run_and_leave_no_half_file(history: History) -> None:
    wait = random.Random(15)
    reported: list[str] = []
    for _ in range(KILLS):
        reported += killed_writer(history.folder, wait.uniform(0, 0.05))
    kept = {run.id: run for run in history.runs()}
    assert KILLS <= len(set(reported)) == len(set(reported) & kept.keys())
    assert not history.sentences
    for run in kept.values():
        content = history.file(run, "masks")
        assert content == str(run.settings["number"]).encode() * 20_000


def test_records_that_are_not_possible_are_refused_in_one_sentence() -> None:
    good = to_record(example())
    own = {"id": "0" * 12, "kind": "tune", "started": 1.0}
    assert from_record(good, **own).fingerprint == "f" * 64
    wrong = {
        "not JSON": "{",
        "a list": "[]",
        "nested": "[" * 100_000,
        "a plan that is a list": good.replace(json.dumps(example().plan), '"[]"'),
        "no plan": good.replace('"plan"', '"no_plan"'),
        "text for a number": good.replace("0.85", '"0.85"'),
        "infinite": good.replace('"seconds": 2.5', '"seconds": Infinity'),
        "a share that is no number": good.replace('"settings": {}', '"settings": {"costs": 5}'),
        "a number beyond all": good.replace('"settings": {}', '"settings": {"x": 1e999}'),
        "hundreds of digits": good.replace("0.85", "9" * 400),
        "negative count": good.replace('"nonzeros": 500', '"nonzeros": -5'),
        "too long": good + " " * 1_000_001,
    }
    for name, text in wrong.items():
        with pytest.raises(PruningError) as caught:
            from_record(text, **own)
        assert str(caught.value).startswith("A run of the history cannot be read: "), name
    for field in (
        {"id": "../../etc"},
        {"note": 5},
        {"tags": (5,)},
        {"kind": "x"},
        {"parent": "x"},
        {"state": "x"},
    ):
        with pytest.raises(PruningError):
            from_record(good, **{**own, **field})


def test_the_folder_is_beside_the_data_or_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNING_EXPLORER_DATA", "/data")
    for named, folder in {"": Path("/data/history"), OFF: None, "/mine": Path("/mine")}.items():
        monkeypatch.setenv(VARIABLE, named)
        assert history_root() == folder


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_read_only_history_is_read_and_never_written(
    history: History, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = example()
    history.save(run, {"masks": b"01"})
    before = tree(history.folder)
    shown = History(history.folder, "Only for reading.")
    assert shown.runs() == history.runs()
    assert shown.file(shown.runs()[0], "masks") == b"01"
    for write in (
        lambda: shown.begin(example()),
        lambda: shown.save(example(), {"masks": b"2"}),
        lambda: shown.change(run.id, note="mine"),
        lambda: shown.delete([run.id]),
        lambda: shown.restore([run.id]),
        shown.purge,
    ):
        with pytest.raises(HistoryFailed, match=r"^Only for reading\.$"):
            write()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert History(history.folder).runs() == shown.runs()
    with pytest.raises(HistoryFailed, match="can only be read: the folder is read-only"):
        History(history.folder).save(example())
    assert tree(history.folder) == before
    assert History(tmp_path / "none", "why").runs() == ()
    assert not (tmp_path / "none").exists()


def test_a_read_only_history_of_an_older_version_is_updated_in_memory(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.save(example())
    before = tree(history.folder)
    newer = (*MIGRATIONS, "ALTER TABLE runs ADD COLUMN later TEXT")
    monkeypatch.setattr(database, "MIGRATIONS", newer)
    assert len(History(history.folder, "why").runs()) == 1
    monkeypatch.setattr(database, "MIGRATIONS", MIGRATIONS[:1])
    with pytest.raises(HistoryFailed, match=r"version 2.* up to version 1"):
        History(history.folder, "why").runs()
    assert tree(history.folder) == before


def test_curves_and_points_with_numbers_beyond_all_are_damaged() -> None:
    digits = "9" * 400
    curves = f'{{"steps": [[1, {digits}]], "epochs": [], "updates": []}}'
    with pytest.raises(PruningError, match=r"^The curves of a run in the history are damaged\.$"):
        unpack_curves(curves.encode())
    words = '"parameter": "conv1", "granularity": "fine", "why": null, "in_full": null'
    point = f'[{{{words}, "sparsity": {digits}}}]'
    with pytest.raises(PruningError, match=r"^The points of a kept scan are damaged\.$"):
        unpack_points(point.encode(), example().task)
