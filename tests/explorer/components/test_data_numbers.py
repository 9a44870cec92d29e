"""Data's numbers rise with its changes, also for a page whose session is lost."""

import time

import pytest
import streamlit as st

from explorer.components.data_numbers import data_number, numbered


@pytest.fixture(autouse=True)
def session(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The session's state, empty at first."""
    values: dict[str, object] = {}
    monkeypatch.setattr(st, "session_state", values)
    return values


def test_a_number_stays_while_the_content_does_and_rises_with_another_one() -> None:
    first = data_number("map", {"chosen": "a"})
    assert data_number("map", {"chosen": "a"}) == first
    second = data_number("map", {"chosen": "b"})
    assert second > first
    assert data_number("map", {"chosen": "a"}) > second, "the first content again is newer"


def test_elements_have_numbers_of_their_own() -> None:
    first = data_number("map", "a")
    data_number("lab", "b")
    assert data_number("map", "a") == first


def test_content_that_is_empty_has_a_number() -> None:
    assert data_number("lab", None) > 0


def test_a_new_session_begins_above_an_old_one(
    session: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now)
    last = [data_number("map", turn) for turn in range(3)][-1]
    session.clear()
    monkeypatch.setattr(time, "time_ns", lambda: now + 10**9)
    assert data_number("map", "after the restart") > last


def test_the_number_stands_before_the_bytes() -> None:
    data = numbered(258, b"layer")
    assert (int.from_bytes(data[:8], "little"), data[8:]) == (258, b"layer")
