"""The searches of a browser: which ones are drawn together, and what a killed server keeps."""

import os
import signal
from pathlib import Path

import pytest

from explorer.jobs.job import Snapshot
from explorer.pages.search.events import Started, search_events
from explorer.pages.search.run import SearchRequest, SearchRun, together
from pruning_core.plan import Plan
from pruning_core.search import Candidate, Judged
from pruning_core.search.run import SearchResult, SearchSettings
from pruning_core.workspaces import Workspace, open_workspace
from pruning_core.zoo.request import VARIABLE

JOB = Snapshot("1", "search", "EagleEye", "done", (), None, None, None)
STARTED = Started(Plan(), Judged(0.9, 0.9), {}, ())


def made(seed: int, evaluations: int, keep: float = 0.5, *, started: bool = True) -> SearchRun:
    settings = SearchSettings(keep=keep, evaluations=evaluations, seed=seed)
    request = SearchRequest(Plan(), settings)
    return SearchRun(JOB, request, STARTED if started else None, ())


def test_searches_with_the_same_budget_are_drawn_together() -> None:
    first = made(0, 10)
    second = made(1, 10)
    other = made(0, 10, 0.4)
    assert together([second, other, first]) == (first, second)
    assert together([made(2, 10, started=False), first]) == (first,)


def test_a_search_with_more_evaluations_replaces_the_shorter_one() -> None:
    first = made(0, 10)
    second = made(1, 10)
    longer = made(0, 20)
    assert together([longer, second, first]) == (longer, second)
    assert together([made(0, 20, started=False), second, first]) == (first, second)


def searching(asked: SearchRequest, space: Workspace) -> tuple[int, int]:
    """A new process that searches as the server does: its id, and where it tells of candidates."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        for event in search_events(asked.plan, space, asked.settings):
            if isinstance(event, Candidate):
                os.write(writes, b"x")
        os._exit(0)
    os.close(writes)
    return child, reads


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_killed_server_loses_no_finished_candidate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same search of the next server measures only the others."""
    space = open_workspace("lenet_300_100", "digits")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    plan = Plan(model="lenet_300_100", granularity="filter", probe=16)
    asked = SearchRequest(plan, SearchSettings("random", "parameters", evaluations=100))
    child, reads = searching(asked, space)
    with os.fdopen(reads, "rb", buffering=0) as told:
        assert told.read(1) == told.read(1) == b"x"
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    (log,) = tmp_path.glob("searches/evaluations-*/evaluations.jsonl")
    finished = log.read_text(encoding="utf-8").count('"finished"')
    assert 2 <= finished < 100
    *events, found = search_events(asked.plan, space, asked.settings)
    assert sum(isinstance(event, Candidate) for event in events) == 100
    assert isinstance(found, SearchResult)
    different = log.read_text(encoding="utf-8").count('"finished"')
    assert found.measured == different - finished
