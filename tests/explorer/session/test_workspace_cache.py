"""Each item is opened once, few are kept, and missing files are not requested in every run."""

import threading

import pytest

from explorer.session.workspace_cache import WorkspaceCache
from pruning_core.types import DataMissing, PruningError


class Opener:
    """Counts its calls and raises the given problem."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.calls = 0
        self.problem = problem

    def __call__(self) -> object:
        self.calls += 1
        if self.problem:
            raise self.problem
        return object()


def test_an_item_is_opened_once() -> None:
    workspaces: WorkspaceCache[object] = WorkspaceCache(2, 60)
    opener = Opener()
    assert workspaces.get("a", opener) is workspaces.get("a", opener)
    assert opener.calls == 1


def test_the_least_recently_used_item_is_removed() -> None:
    workspaces: WorkspaceCache[object] = WorkspaceCache(2, 60)
    a = Opener()
    b = Opener()
    c = Opener()
    for key, opener in (("a", a), ("b", b), ("a", a), ("c", c), ("a", a), ("b", b)):
        workspaces.get(key, opener)
    assert (a.calls, b.calls, c.calls) == (1, 2, 1)


def test_whether_an_item_is_open_is_known_without_opening_it() -> None:
    workspaces: WorkspaceCache[object] = WorkspaceCache(1, 60)
    assert not workspaces.has("a")
    workspaces.get("a", Opener())
    assert workspaces.has("a")
    workspaces.get("b", Opener())
    assert not workspaces.has("a")


def test_missing_files_are_requested_again_after_a_time_or_on_request() -> None:
    now = [0.0]
    workspaces: WorkspaceCache[object] = WorkspaceCache(2, 60, lambda: now[0])
    opener = Opener(DataMissing("Not here."))
    for moment, calls in ((0, 1), (30, 1), (59, 1), (61, 2), (62, 2)):
        now[0] = moment
        with pytest.raises(DataMissing, match="Not here"):
            workspaces.get("a", opener)
        assert opener.calls == calls
    workspaces.retry_missing()
    opener.problem = None
    assert workspaces.get("a", opener) is not None


def test_other_problems_are_not_stored() -> None:
    workspaces: WorkspaceCache[object] = WorkspaceCache(2, 60)
    opener = Opener(PruningError("Damaged."))
    for _ in range(2):
        with pytest.raises(PruningError, match="Damaged"):
            workspaces.get("a", opener)
    assert opener.calls == 2


def test_two_threads_open_an_item_once_and_other_keys_do_not_wait() -> None:
    workspaces: WorkspaceCache[object] = WorkspaceCache(4, 60)
    started = threading.Event()
    go = threading.Event()
    calls = []

    def slow() -> object:
        calls.append(1)
        started.set()
        go.wait(10)
        return object()

    opened: list[object] = []
    threads = [
        threading.Thread(target=lambda: opened.append(workspaces.get("slow", slow)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    assert started.wait(10)
    assert workspaces.get("quick", Opener()) is not None
    go.set()
    for thread in threads:
        thread.join(10)
    assert len(calls) == 1
    assert opened[0] is opened[1]
