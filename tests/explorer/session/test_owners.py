"""A browser keeps its jobs over a reload; another browser never gets them."""

import pytest

from explorer.jobs.background import Jobs
from explorer.session.owners import MOST, Owners, browser

TOKEN = bytes(range(16))


def cookie(token: bytes, mask: bytes) -> str:
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(token))
    return f"2|{mask.hex()}|{masked.hex()}|1700000000"


def test_the_same_token_is_the_same_browser_whatever_its_mask() -> None:
    first, again = (browser(cookie(TOKEN, mask), "s") for mask in (b"abcd", b"\x00\x01\x02\xff"))
    assert first == again
    assert first != browser(cookie(TOKEN[::-1], b"abcd"), "s")
    assert TOKEN.hex() not in first


def test_streamlits_own_cookies_are_read() -> None:
    from streamlit.web.server.starlette.starlette_app_utils import generate_xsrf_token_string

    made = [generate_xsrf_token_string(TOKEN, 1) for _ in range(3)]
    assert {browser(text, "s") for text in made} == {browser(cookie(TOKEN, b"abcd"), "s")}


@pytest.mark.parametrize(
    "text", ["", "2|", "nonsense", "2|00000000|00|1", "2|zz|zz|1", f"2|00000000|{'0' * 33}|1"]
)
def test_without_a_usable_cookie_a_session_stands_for_itself(text: str) -> None:
    assert browser(text, "session") == "session"


def test_a_browser_is_there_while_any_of_its_tabs_is() -> None:
    tabs = {"tab 1", "tab 2", "elsewhere"}
    presence = Owners(tabs.__contains__)
    presence.seen("ann", "tab 1")
    presence.seen("ann", "tab 2")
    presence.seen("bob", "elsewhere")
    tabs.remove("tab 1")
    assert presence.there("ann")
    tabs.remove("tab 2")
    assert not presence.there("ann")
    assert presence.there("bob")
    assert not presence.there("nobody")


def test_old_sessions_are_forgotten_and_connected_ones_are_not() -> None:
    presence = Owners({"0"}.__contains__)
    for number in range(2 * MOST):
        presence.seen(f"owner {number}", str(number))
    assert len(presence._owners) <= MOST
    assert presence.there("owner 0")


def test_a_job_survives_a_reload_within_the_grace() -> None:
    now = [0.0]
    tabs = {"before"}
    presence = Owners(tabs.__contains__)
    jobs = Jobs(presence.there, grace=60, clock=lambda: now[0])
    presence.seen("ann", "before")
    job = jobs.start("ann", "train", "Fine-tuning", lambda: iter([1]))
    tabs.clear()
    jobs.sweep()
    now[0] = 30.0
    tabs.add("after")
    presence.seen("ann", "after")
    now[0] = 500.0
    assert [shot.id for shot in jobs.of("ann", "train")] == [job.id]
    assert jobs.of("bob", "train") == ()
    assert jobs.lost("ann", "train") is None
