"""The access token: nothing of the app is shown to a browser that has not entered it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from explorer.serving import TOKEN
from explorer.session import access

APP = Path(__file__).resolve().parents[3] / "explorer" / "script" / "visit.py"


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(TOKEN, "the class of 2026")
    monkeypatch.setattr(access, "WRONG_SECONDS", 0.0)
    access._allowed.clear()
    yield
    access._allowed.clear()


def test_the_form_is_all_that_is_shown_until_the_token_is_right() -> None:
    at = AppTest.from_file(str(APP), default_timeout=60).run()
    assert [entry.label for entry in at.text_input] == ["Access token"]
    assert not at.metric
    assert not at.sidebar.selectbox
    at.text_input[0].input("a wrong token")
    at.button[0].click().run()
    assert at.error[0].value == "This is not the access token of this server."
    assert not at.metric
    at.text_input[0].input("the class of 2026")
    at.button[0].click().run()
    assert not at.exception
    assert at.sidebar.selectbox
    assert not [entry for entry in at.text_input if entry.label == "Access token"]


def test_a_link_may_hold_the_token_and_the_address_does_not_keep_it() -> None:
    at = AppTest.from_file(str(APP), default_timeout=60)
    at.query_params["token"] = "the class of 2026"
    at.query_params["model"] = "lenet5"
    at.run()
    assert at.sidebar.selectbox
    assert "token" not in at.query_params
    assert at.query_params["model"] == "lenet5"


def test_a_link_with_a_wrong_token_leads_to_the_form() -> None:
    at = AppTest.from_file(str(APP), default_timeout=60)
    at.query_params["token"] = "the class of 2025"
    at.run()
    assert at.error[0].value == "This is not the access token of this server."
    assert "token" not in at.query_params
    at.text_input[0].input("the class of 2026")
    at.button[0].click().run()
    assert at.sidebar.selectbox
