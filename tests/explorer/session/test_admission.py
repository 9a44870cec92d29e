"""A full server: a new page gets one sentence; an open one keeps working."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from explorer.limits import variable
from explorer.session import admission, cache
from explorer.session.owners import Owners

APP = Path(__file__).resolve().parents[3] / "explorer" / "script" / "visit.py"


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The sessions with an open page: another browser's, and that of AppTest."""
    open_pages = {"another", "test session id"}
    owners = Owners(open_pages.__contains__)
    owners.add_session("its browser", "another")
    monkeypatch.setattr(cache, "owners", lambda: owners)
    return open_pages


def test_a_new_page_waits_for_a_place_and_an_open_one_keeps_it(
    connected: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable("sessions"), "1")
    at = AppTest.from_file(str(APP), default_timeout=60)
    at.query_params["model"] = "lenet5"
    at.run()
    assert [entry.value for entry in at.info] == [admission.MANY]
    assert not at.sidebar.selectbox
    connected.remove("another")
    at.button(key="full_again").click().run()
    assert not at.exception
    assert at.sidebar.selectbox
    monkeypatch.setenv(variable("memory_mb"), "1")
    connected.add("another")
    at.run()
    assert at.sidebar.selectbox, "its page is open already"


def test_a_new_page_is_refused_where_the_memory_is_used_up(
    connected: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "is_full", lambda most: most == 500)
    monkeypatch.setenv(variable("memory_mb"), "500")
    assert admission.why_full() == admission.MEMORY
    monkeypatch.setenv(variable("memory_mb"), "501")
    assert admission.why_full() == ""
