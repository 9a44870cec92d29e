"""A browser keeps its jobs after a reload; another browser never receives them."""

import pytest

from explorer.jobs.queue import JobQueue
from explorer.limits import Limits
from explorer.session.owners import MAX_SESSIONS, Owners, browser_id

TOKEN = bytes(range(16))


def cookie(token: bytes, mask: bytes) -> str:
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(token))
    return f"2|{mask.hex()}|{masked.hex()}|1700000000"


def test_the_same_token_is_the_same_browser_whatever_its_mask() -> None:
    first, again = (browser_id(cookie(TOKEN, mask), "s") for mask in (b"abcd", b"\x00\x01\x02\xff"))
    assert first == again
    assert first != browser_id(cookie(TOKEN[::-1], b"abcd"), "s")
    assert TOKEN.hex() not in first


def test_cookies_that_streamlit_makes_are_read() -> None:
    from streamlit.web.server.starlette.starlette_app_utils import generate_xsrf_token_string

    made = [generate_xsrf_token_string(TOKEN, 1) for _ in range(3)]
    assert {browser_id(text, "s") for text in made} == {browser_id(cookie(TOKEN, b"abcd"), "s")}


@pytest.mark.parametrize(
    "text", ["", "2|", "nonsense", "2|00000000|00|1", "2|zz|zz|1", f"2|00000000|{'0' * 33}|1"]
)
def test_without_a_usable_cookie_the_owner_is_the_session(text: str) -> None:
    assert browser_id(text, "session") == "session"


def test_a_browser_is_connected_while_any_of_its_tabs_is() -> None:
    tabs = {"tab 1", "tab 2", "elsewhere"}
    owners = Owners(tabs.__contains__)
    owners.add_session("ann", "tab 1")
    owners.add_session("ann", "tab 2")
    owners.add_session("bob", "elsewhere")
    tabs.remove("tab 1")
    assert owners.is_connected("ann")
    tabs.remove("tab 2")
    assert not owners.is_connected("ann")
    assert owners.is_connected("bob")
    assert not owners.is_connected("nobody")


def test_old_sessions_are_deleted_and_connected_ones_are_not() -> None:
    owners = Owners({"0"}.__contains__)
    for number in range(2 * MAX_SESSIONS):
        owners.add_session(f"owner {number}", str(number))
    assert len(owners._owners) <= MAX_SESSIONS
    assert owners.is_connected("owner 0")


def test_a_job_continues_after_a_reload_within_the_grace_time() -> None:
    now = [0.0]
    tabs = {"before"}
    owners = Owners(tabs.__contains__)
    jobs = JobQueue(owners.is_connected, Limits(grace_seconds=60), clock=lambda: now[0])
    owners.add_session("ann", "before")
    job = jobs.start("ann", "train", "Fine-tuning", lambda: iter([1]))
    tabs.clear()
    jobs.stop_abandoned()
    now[0] = 30.0
    tabs.add("after")
    owners.add_session("ann", "after")
    now[0] = 500.0
    assert [shot.id for shot in jobs.snapshots("ann", "train")] == [job.id]
    assert jobs.snapshots("bob", "train") == ()
    assert jobs.abandoned_notice("ann", "train") is None
