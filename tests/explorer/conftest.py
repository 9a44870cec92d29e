"""Pages under test: a view with the side bar, as `app.py` shows it, in a session without other people's jobs."""

import time
from collections.abc import Callable, Iterator

import pytest
from streamlit.testing.v1 import AppTest

from explorer import cache

PATIENCE = 90


def page(view: str) -> None:
    import importlib

    import streamlit as st

    from explorer import sidebar, state
    from explorer.notices import announce, told

    state.begin(view, sidebar.known_names())
    with st.sidebar:
        choice = sidebar.render()
    state.publish()
    announce(choice.notes)
    if choice.space is not None:
        with told():
            importlib.import_module(f"explorer.views.{view}").render(choice.plan, choice.space)


@pytest.fixture
def open_view() -> Iterator[Callable[..., AppTest]]:
    """`open_view("export", model="lenet5")`: that page, run once; nothing raised."""

    def open_(view: str, **address: str) -> AppTest:
        at = AppTest.from_function(page, default_timeout=60, args=(view,))
        for key, value in ({"model": "lenet5"} | address).items():
            at.query_params[key] = value
        at.run()
        assert not at.exception
        return at

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
            at.run()
            assert not at.exception
        return at

    return wait
