"""Two workers share a search through a real PostgreSQL server, where it is installed."""

import os
import pwd
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pruning_core.search import Judged
from pruning_core.search.postgres_log import STORAGE, open_log
from pruning_core.search.study import news, shared
from pruning_core.types import PruningError, Ratios
from tests.core.search.test_study import start_worker

HALF: Ratios = {"a": 0.5}
PROGRAMS = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


def constant(ratios: Ratios) -> Judged:
    return Judged(0.25, 0.25, 2.0)


def never(ratios: Ratios) -> Judged:
    raise AssertionError("evaluated again")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of its own, which listens on a socket in a folder only."""
    pytest.importorskip("psycopg")
    if PROGRAMS is None:
        pytest.skip("PostgreSQL is not installed")
    account: dict[str, Any] = {}
    if os.getuid() == 0:  # the server refuses to run as root
        entry = pwd.getpwnam("postgres")
        account = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    folder = Path(subprocess.check_output(["mktemp", "-d"], text=True, **account).strip())
    data = folder / "data"
    try:
        make = f"{PROGRAMS}/initdb -D {data} -U pruning --no-sync -A trust".split()
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL, cwd=folder, **account)
        switches = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        control = f"{PROGRAMS}/pg_ctl -D {data} -w -l {folder}/log".split()
        subprocess.run(
            [*control, "-o", switches, "start"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
            **account,
        )
        try:
            yield f"postgresql://pruning@/postgres?host={folder}"
        finally:
            subprocess.run(
                [*control, "-m", "immediate", "stop"],
                check=True,
                stdout=subprocess.DEVNULL,
                cwd=folder,
                **account,
            )
    finally:
        shutil.rmtree(folder)


def test_workers_share_evaluations_through_postgresql(
    server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(STORAGE, server)
    with (
        shared(open_log(tmp_path, "study"), constant) as one,
        shared(open_log(tmp_path, "study"), never) as two,
    ):
        assert (one.number, two.number) == (0, 1)
        one(HALF)
        assert two(HALF) == constant(HALF)
        assert news(two) == ((HALF, constant(HALF)),)
    with shared(open_log(tmp_path, "study"), never) as again:
        assert again.number == 0
        assert again(HALF) == constant(HALF)
    with shared(open_log(tmp_path, "other"), constant) as other:
        assert other.finished() == 0
    assert not list(tmp_path.iterdir())


def test_the_evaluation_of_a_worker_without_connection_is_told_lost(
    server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(STORAGE, server)
    log = open_log(tmp_path, "killed")
    killed = []

    def killed_meanwhile(ratios: Ratios) -> Judged:
        killed.append(ratios)
        log.close()  # what the server sees of a kill
        return constant(ratios)

    with (
        pytest.raises(PruningError, match="cannot be used"),
        shared(log, killed_meanwhile) as evaluate,
    ):
        evaluate(HALF)
    with shared(open_log(tmp_path, "killed"), constant) as evaluate:
        assert evaluate(HALF) == constant(HALF)
    with closing(open_log(tmp_path, "killed")) as log:
        states = [record["state"] for record in log.read(0)[0]]
    assert states == ["started", "running", "started", "lost", "running", "finished"]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_two_processes_share_a_server_and_one_of_them_is_killed(
    server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What it finished is known to the other one, which waits for the rest and takes it over."""
    monkeypatch.setenv(STORAGE, server)
    child = start_worker(lambda: open_log(tmp_path, "processes"))
    measured: list[Ratios] = []

    def here(ratios: Ratios) -> Judged:
        measured.append(ratios)
        return constant(ratios)

    with shared(open_log(tmp_path, "processes"), here) as evaluate:
        assert evaluate.number == 1
        assert evaluate({"a": 0.0}).value == 0.25
        waiting = threading.Thread(target=evaluate, args=({"a": 60.0},))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        waiting.join(20)
    assert measured == [{"a": 60.0}]


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgresql://pruning@/x?host=/no/such/folder", "cannot be used"),
        ("sqlite:///file", "must be an address"),
    ],
)
def test_a_storage_that_cannot_be_used_is_one_sentence(
    url: str, sentence: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("psycopg")
    monkeypatch.setenv(STORAGE, url)
    with pytest.raises(PruningError, match=sentence) as refused:
        open_log(tmp_path, "study")
    assert "\n" not in str(refused.value)
