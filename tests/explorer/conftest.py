"""Fixtures that open a page with the side bar, without the jobs of other tests."""

import os
import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache as cached
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from plotly import basedatatypes
from streamlit.components.v2 import manifest_scanner
from streamlit.runtime.scriptrunner.script_cache import ScriptCache
from streamlit.runtime.state import SafeSessionState, SessionState
from streamlit.testing.v1 import AppTest, app_test, local_script_runner

from explorer.jobs.work import Work
from explorer.session import cache, page_body
from explorer.session.workspace_cache import WorkspaceCache
from pruning_core.studies import fingerprint
from pruning_core.subjects import VARIABLE
from pruning_core.workspaces import Workspace
from tests.explorer.driven import opened, page, run, text

MAX_SECONDS = 90


@pytest.fixture(scope="session", autouse=True)
def _scan_components_once() -> Iterator[None]:
    """For each AppTest Streamlit reads the metadata of all installed packages.

    That takes 0.2 s, and the result is always the same.
    """
    scan = manifest_scanner.scan_component_manifests
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", cached(scan))
        yield


@pytest.fixture(scope="session", autouse=True)
def _split_names_once() -> Iterator[None]:
    """Plotly splits the name of a property ("title_text") each time that a figure sets it.

    That takes a twelfth of the time of a page, and the result is always the same.
    """
    split = basedatatypes._str_to_dict_path_full
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(basedatatypes, "_str_to_dict_path_full", cached(split))
        yield


class Server:
    """What AppTest's scripts ask a server for. A mock makes a class for each answer: 2 ms a run."""

    def __init__(self, **_spec: object) -> None: ...

    def get_client(self, session: str) -> None:
        """No browser is connected, so there are no cookies."""

    def is_active_session(self, session: str) -> bool:
        return True


@pytest.fixture(scope="session", autouse=True)
def _serve_without_mocks() -> Iterator[None]:
    """AppTest makes a new mock of the server for every run, and compiles the script again."""
    scripts = ScriptCache()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app_test, "MagicMock", Server)
        patch.setattr(app_test, "ScriptCache", lambda: scripts)
        patch.setattr(local_script_runner, "ScriptCache", lambda: scripts)
        yield


class LookedUp(Mapping[str, Any]):
    """The state of a session: looked up where Streamlit copies all of it for one widget's value."""

    def __init__(self, state: SessionState) -> None:
        self.state = state

    def __getitem__(self, key: str) -> Any:
        return self.state[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.state.filtered_state)

    def __len__(self) -> int:
        return len(self.state.filtered_state)


@pytest.fixture(scope="session", autouse=True)
def _look_values_up() -> Iterator[None]:
    """A tenth of the time of a page's run."""
    with pytest.MonkeyPatch.context() as patch:
        found = property(lambda safe: LookedUp(safe._state))
        patch.setattr(SafeSessionState, "filtered_state", found)
        yield


@pytest.fixture(scope="session", autouse=True)
def _wait_for_the_script_without_polling() -> Iterator[None]:
    """AppTest looks a thousand times a second through all messages for the last one."""
    poll = local_script_runner.require_widgets_deltas

    def wait(runner: Any, timeout: float) -> None:
        runner._script_thread.join(timeout)
        poll(runner, 0.1)  # returns, or fails the run: the time is over

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_script_runner, "require_widgets_deltas", wait)
        yield


@pytest.fixture(scope="session", autouse=True)
def _open_networks_of_each_subject_file() -> Iterator[None]:
    """Two test files may give different networks the same name. A server's names never change."""
    get = WorkspaceCache.get
    has = WorkspaceCache.has

    def own(key: object) -> tuple[object, str | None]:
        return key, os.environ.get(VARIABLE)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkspaceCache, "get", lambda self, key, make: get(self, own(key), make))
        patch.setattr(WorkspaceCache, "has", lambda self, key: has(self, own(key)))
        yield


_events: dict[tuple[str, str, str, bytes], list[bytes]] = {}
"""The events of the jobs that ended, by network, data, their fingerprint, and function."""
ONCE = {"scan_events", "training_events", "corrected"}
"""Functions whose jobs are not computed again; tests interrupt the others."""
_fingerprints: WeakKeyDictionary[Workspace, str] = WeakKeyDictionary()


def _as_from_a_process(work: Work) -> Iterator[object]:
    """The events of a job as they come from a worker process, computed in this process.

    A scan or training that ended once gives the same events again: many tests begin with one.
    """
    function: Any = work.function
    name = function.func.__qualname__
    if "<locals>" not in name:  # a test's own stands for the real one
        function = pickle.loads(pickle.dumps(function))
    if name not in ONCE or "folder" in function.keywords:  # a journal: it may continue
        for event in function(work.space):
            yield pickle.loads(pickle.dumps(event))
        return
    if work.space not in _fingerprints:
        _fingerprints[work.space] = fingerprint(work.space)
    key = (work.model, work.dataset, _fingerprints[work.space], pickle.dumps(function))
    if key in _events:
        yield from map(pickle.loads, _events[key])
        return
    made = []
    for event in function(work.space):
        made.append(pickle.dumps(event))
        yield pickle.loads(made[-1])
    _events[key] = made


@pytest.fixture(autouse=True)
def _jobs_as_in_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that pages send to worker processes and receive from them can be pickled."""
    monkeypatch.setattr(Work, "here", _as_from_a_process)


@pytest.fixture
def drawn_in_parts() -> None:
    """After a change, AppTest has the elements of the parts that show it, and no others."""


@pytest.fixture(autouse=True)
def _drawn_whole(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """AppTest has the elements of the last run only: in other tests the whole page runs."""
    if "drawn_in_parts" not in request.fixturenames:
        monkeypatch.setattr(page_body, "shown_body", lambda: None)


@pytest.fixture
def open_view() -> Iterator[Callable[..., AppTest]]:
    """`open_view("export", model="lenet5")` runs that page once; it must not raise."""

    def open_(view: str, **address: str) -> AppTest:
        return opened(page, {"model": "lenet5"} | address, view)

    _delete_jobs()
    yield open_
    _delete_jobs()


def _delete_jobs() -> None:
    cache.jobs().close()
    cache.jobs.cache_clear()


def _wait_for_jobs() -> None:
    """Returns when a running job ends, at the latest after half a second."""
    for thread in list(cache.jobs()._threads.values()):
        thread.join(0.5)


@pytest.fixture
def until() -> Callable[[AppTest, Callable[[AppTest], bool]], AppTest]:
    """`until(at, done)` runs the page repeatedly, as the browser's timer does."""

    def wait(at: AppTest, done: Callable[[AppTest], bool]) -> AppTest:
        deadline = time.monotonic() + MAX_SECONDS
        while not done(at):
            assert time.monotonic() < deadline, text(at)
            _wait_for_jobs()
            run(at)
        return at

    return wait
