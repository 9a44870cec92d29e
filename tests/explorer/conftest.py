"""Pages under test: a view with the side bar, as `app.py` shows it, in a session without other
people's jobs.
"""

import time
from collections.abc import Callable, Iterator
from functools import cache as cached

import pytest
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from explorer.session import cache
from tests.explorer.driven import opened, page, run

PATIENCE = 90


@pytest.fixture(scope="session", autouse=True)
def _scan_components_once() -> Iterator[None]:
    """Streamlit reads the metadata of every installed package for each AppTest: 0.2 s, always with
    the same result.
    """
    scan = manifest_scanner.scan_component_manifests
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", cached(scan))
        yield


@pytest.fixture
def open_view() -> Iterator[Callable[..., AppTest]]:
    """`open_view("export", model="lenet5")`: that page, run once; nothing raised."""

    def open_(view: str, **address: str) -> AppTest:
        return opened(page, {"model": "lenet5"} | address, view)

    _forget_jobs()
    yield open_
    _forget_jobs()


def _forget_jobs() -> None:
    cache.jobs().close()
    cache.jobs.clear()


@pytest.fixture
def until() -> Callable[[AppTest, Callable[[AppTest], bool]], AppTest]:
    """`until(at, done)`: runs the page again and again, as the browser's timer does."""

    def wait(at: AppTest, done: Callable[[AppTest], bool]) -> AppTest:
        deadline = time.monotonic() + PATIENCE
        while not done(at):
            assert time.monotonic() < deadline, "the page never came to that"
            time.sleep(0.1)
            run(at)
        return at

    return wait
