"""Workers that share evaluations: nothing is computed twice, and a killed worker is told."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pruning_core.search import Judged
from pruning_core.search.record_log import FileLog, RecordLog
from pruning_core.search.study import key_of, news, shared, worker_seed
from pruning_core.types import PruningError, Ratios

HALF: Ratios = {"a": 0.5}


def constant(ratios: Ratios) -> Judged:
    return Judged(0.25, 0.25, 2.0, divergence=0.5)


def never(ratios: Ratios) -> Judged:
    raise AssertionError("evaluated again")


def refuse(ratios: Ratios) -> Judged:
    raise PruningError("Layer a would be empty.")


def states(folder: Path) -> list[str]:
    lines = (folder / "evaluations.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["state"] for line in lines]


def test_finished_and_failed_evaluations_are_never_repeated(tmp_path: Path) -> None:
    with shared(FileLog(tmp_path), constant) as evaluate:
        assert evaluate(HALF) == constant(HALF)
    with shared(FileLog(tmp_path), refuse) as evaluate, pytest.raises(PruningError, match="empty"):
        evaluate({"a": 0.9})
    with shared(FileLog(tmp_path), never) as evaluate:
        assert evaluate({"a": 0.5 + 1e-12}) == constant(HALF)
        with pytest.raises(PruningError, match=r"^Layer a would be empty\.$"):
            evaluate({"a": 0.9})
        assert evaluate.finished() == 1


def test_workers_have_their_own_numbers_and_hear_of_each_other(tmp_path: Path) -> None:
    with shared(FileLog(tmp_path), constant) as one, shared(FileLog(tmp_path), constant) as two:
        assert (one.number, two.number) == (0, 1)
        one(HALF)
        assert news(two) == ((HALF, constant(HALF)),)
        assert news(two) == news(one) == news(constant) == ()
    with shared(FileLog(tmp_path), constant) as later:
        assert later.number == 0
    assert len({worker_seed(3, number) for number in range(8)}) == 8
    assert key_of({"b": 0.1, "a": 0.2}) == key_of({"a": 0.2, "b": 0.1})


def test_a_worker_waits_for_what_another_one_has_begun(tmp_path: Path) -> None:
    begun = threading.Event()
    release = threading.Event()

    def slow(ratios: Ratios) -> Judged:
        begun.set()
        assert release.wait(20)
        return constant(ratios)

    with shared(FileLog(tmp_path), slow) as one, shared(FileLog(tmp_path), never) as two:
        first = threading.Thread(target=one, args=(HALF,))
        first.start()
        assert begun.wait(20)
        threading.Timer(0.1, release.set).start()
        assert two(HALF) == constant(HALF)
        first.join()


def start_worker(open_it: Callable[[], RecordLog]) -> int:
    """The id of a new process, which has finished one evaluation and has begun another one."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:

        def slow(ratios: Ratios) -> Judged:
            os.write(writes, b"x")
            time.sleep(ratios["a"])
            return constant(ratios)

        with shared(open_it(), slow) as evaluate:
            for ratio in (0.0, 60.0):
                evaluate({"a": ratio})
        os._exit(1)
    os.close(writes)
    with os.fdopen(reads, "rb", buffering=0) as begun:
        assert [begun.read(1) for _ in range(2)] == [b"x"] * 2
    return child


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_kill_of_a_worker_in_mid_search_loses_no_finished_evaluation(tmp_path: Path) -> None:
    """A process is killed while it evaluates; another one, at work meanwhile, takes over."""
    child = start_worker(lambda: FileLog(tmp_path))
    measured = []

    def again(ratios: Ratios) -> Judged:
        measured.append(ratios)
        return constant(ratios)

    with shared(FileLog(tmp_path), again) as evaluate:
        assert evaluate({"a": 0.0}) == constant({})
        waiting = threading.Thread(target=evaluate, args=({"a": 60.0},))
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        waiting.join(20)
    assert measured == [{"a": 60.0}]
    assert states(tmp_path)[-3:] == ["lost", "running", "finished"]


def test_orphans_are_told_at_the_next_start_and_torn_lines_are_left_out(tmp_path: Path) -> None:
    log = FileLog(tmp_path)
    for record in (
        {"state": "started", "worker": "0-x"},
        {"state": "running", "key": key_of(HALF), "ratios": HALF, "worker": "0-x"},
    ):
        log.append(record)
    with log.path.open("ab") as file:
        file.write(b'{"state": "finis')
    with shared(FileLog(tmp_path), constant) as evaluate:
        assert evaluate.number == 0
        whole = [record["state"] for record in FileLog(tmp_path).read(0)[0]]
        assert whole == ["started", "running", "started", "lost"]
        assert evaluate(HALF) == constant(HALF)


def test_a_folder_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PruningError, match=r"^The evaluations in .*file cannot be read or written"):
        FileLog(tmp_path / "file")
