"""A search by several workers: in other processes, on Dask, killed, stopped, and resumed."""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pruning_core import Plan, PruningError, backends
from pruning_core.backends import Backend, Source, Submit, dask, executor_backend, process_pool
from pruning_core.search import Candidate, Judged
from pruning_core.search.run import SearchResult, SearchSettings, search
from pruning_core.types import Cancelled, Ratios
from pruning_core.workers import WorkerLost, Workers, WorkersFailed, parallel
from pruning_core.workspaces import Workspace, open_workspace
from tests.core.events import stop

PLAN = Plan(model="lenet_300_100", dataset="digits", granularity="filter", probe=16)
SETTINGS = SearchSettings("random", "parameters", evaluations=8)


@pytest.fixture(scope="module")
def space() -> Workspace:
    return open_workspace(PLAN.model, PLAN.dataset)


def run(
    space: Workspace, folder: Path, backend: Backend | None, settings: SearchSettings = SETTINGS
) -> tuple[list[Candidate], SearchResult]:
    *events, found = search(PLAN, space, settings, folder, backend=backend, by_name=True)
    assert isinstance(found, SearchResult)
    return [event for event in events if isinstance(event, Candidate)], found


def finished(folder: Path) -> Counter[str]:
    """How often the ratios of each evaluation were finished."""
    (path,) = folder.glob("evaluations-*/evaluations.jsonl")
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return Counter(record["key"] for record in records if record["state"] == "finished")


def test_two_workers_share_one_search_here_and_on_dask(space: Workspace, tmp_path: Path) -> None:
    """Each has its own seed and every second number; the same search again measures nothing."""
    from distributed import Client, LocalCluster  # 1 second in every process of the suite

    with ThreadPoolExecutor(2) as executor:
        candidates, found = run(space, tmp_path / "here", executor_backend(executor, workers=2))
    assert sorted(candidate.number for candidate in candidates) == list(range(1, 9))
    assert found.measured == len(finished(tmp_path / "here")) == 8
    alone, _ = run(
        space, tmp_path / "alone", None, SearchSettings("random", "parameters", evaluations=4)
    )
    by_number = {candidate.number: candidate for candidate in candidates}
    assert [by_number[number].ratios for number in (1, 3, 5, 7)] == [c.ratios for c in alone]
    scores = [candidate.judged.rank for candidate in candidates if candidate.best]
    assert scores == sorted(scores)
    assert found.best.judged.rank == scores[-1]
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        there, _ = run(space, tmp_path / "dask", dask(client))
        _, again = run(space, tmp_path / "here", dask(client))
    assert {c.number: c.ratios for c in there} == {c.number: c.ratios for c in candidates}
    assert again.measured == 0
    assert again.best.ratios == found.best.ratios


def test_a_stopped_search_of_workers_goes_on(space: Workspace, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as executor:
        backend = executor_backend(executor, workers=2)
        events = search(PLAN, space, SETTINGS, tmp_path, backend=backend, by_name=True)
        next(events)
        stop(events)
        before = len(finished(tmp_path))
        assert before < 8
        _, found = run(space, tmp_path, backend)
    assert found.measured == 8 - before
    assert set(finished(tmp_path).values()) == {1}


@dataclass(frozen=True)
class Constant:
    """A runner, and where workers get it. folder: it tells its process's number there, and ends
    when the file "go" is there.
    """

    folder: Path | None = None

    def run(self, ratios: Ratios) -> Judged:
        if self.folder:
            (self.folder / f"{os.getpid()}").touch()
            while not (self.folder / "go").exists():
                time.sleep(0.01)
        return Judged(ratios["a"], ratios["a"])

    def for_other_process(self) -> "Constant":
        return self

    @property
    def runner(self) -> "Constant":
        return self


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_the_jobs_of_a_killed_process_are_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "get_context", lambda _: get_context("fork"))
    lost: list[WorkerLost] = []
    workers = Workers(process_pool(2), Constant(tmp_path), lost.append)
    with ThreadPoolExecutor(2) as threads:
        values = [threads.submit(workers.run, {"a": ratio}) for ratio in (0.25, 0.5)]
        while not (started := list(tmp_path.iterdir())):
            time.sleep(0.01)
        os.kill(int(started[0].name), signal.SIGKILL)
        while len(lost) < 1:
            time.sleep(0.01)
        (tmp_path / "go").touch()
        assert [value.result(20).value for value in values] == [0.25, 0.5]
    workers.close()
    assert [event.sentence for event in lost] == [
        "A worker ended (BrokenProcessPool); what it computed is done again."
    ]
    with pytest.raises(Cancelled):
        workers.run({"a": 0.5})


def test_workers_that_always_end_are_no_fault_of_the_ratios(
    space: Workspace, tmp_path: Path
) -> None:
    """The search ends with one sentence, and nothing is noted as failed."""

    @contextmanager
    def broken(source: Source) -> Iterator[Submit]:
        def submit(*job: Any) -> Any:
            raise BrokenExecutor

        yield submit

    events = search(PLAN, space, SETTINGS, tmp_path, backend=Backend(broken, 1))
    with pytest.raises(WorkersFailed, match="ended 3 times in a row"):
        list(events)
    (path,) = tmp_path.glob("evaluations-*/evaluations.jsonl")
    states = [json.loads(line)["state"] for line in path.read_text().splitlines()]
    assert states == ["started", "running", "lost"]


def test_the_error_of_a_task_stops_the_others() -> None:
    def wrong(emit: Callable[[object], None]) -> None:
        emit(1)
        raise PruningError("No.")

    def endless(workers: Workers, emit: Callable[[object], None]) -> None:
        while True:
            workers.run({"a": 0.5})

    with ThreadPoolExecutor(1) as executor:
        events = parallel(
            executor_backend(executor),
            Constant(),
            lambda workers: [wrong, partial(endless, workers)],
        )
        assert next(events) == 1
        with pytest.raises(PruningError, match=r"^No\.$"):
            next(events)


def test_dask_without_scheduler_or_workers_is_one_sentence() -> None:
    from dask import config  # slow to import

    with (
        config.set({"distributed.comm.timeouts.connect": "0.1s"}),
        pytest.raises(PruningError, match=r"^No Dask scheduler answers at tcp"),
    ):
        dask("tcp://127.0.0.1:1").count()
    nobody: Any = SimpleNamespace(nthreads=dict)
    with pytest.raises(PruningError, match="has no worker"):
        dask(nobody).count()
