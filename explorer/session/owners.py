"""The owner of a session's jobs: its browser, which is connected while any of its tabs is.

A reload, or the same link opened again, makes a new session in the same browser. Streamlit's server
gives each browser a random cookie against cross-site requests; it identifies the browser. The
cookie is never in an address, so a shared link shares no job. This module does not use Streamlit.
"""

import hashlib
import re
import threading
from collections.abc import Callable

COOKIE = "_streamlit_xsrf"
TOKEN = re.compile(r"2\|([0-9a-f]{8})\|([0-9a-f]{32,})\|\d+")
MAX_SESSIONS = 1000


def browser_id(cookie: str, session: str) -> str:
    """A hash of the browser's token, or the session's id where there is no usable cookie.

    The cookie is 2|mask|token xor mask|time, in hexadecimal. Each response has a new mask; the
    token stays the same.
    """
    match = TOKEN.fullmatch(cookie.strip("\"'"))
    if match is None or len(match[2]) % 2:
        return session
    mask = bytes.fromhex(match[1])
    masked = bytes.fromhex(match[2])
    token = bytes(byte ^ mask[index % len(mask)] for index, byte in enumerate(masked))
    return hashlib.sha256(token).hexdigest()


class Owners:
    """The sessions of each owner. Any thread may call any method.

    is_session_connected: returns True while that session has an open page.
    """

    def __init__(self, is_session_connected: Callable[[str], bool]) -> None:
        self._is_session_connected = is_session_connected
        self._owners: dict[str, str] = {}
        self._lock = threading.Lock()

    def add_session(self, owner: str, session: str) -> None:
        """Stores that the session belongs to the owner.

        Call it in every run: above `MAX_SESSIONS`, sessions without a connection are deleted.
        """
        with self._lock:
            self._owners[session] = owner
            if len(self._owners) > MAX_SESSIONS:
                self._owners = {
                    other: other_owner
                    for other, other_owner in self._owners.items()
                    if other == session or self._is_session_connected(other)
                }

    def is_known(self, session: str) -> bool:
        """Was the session added?"""
        with self._lock:
            return session in self._owners

    def add_if_free(self, owner: str, session: str, most: int) -> bool:
        """Adds the session where fewer than `most` have an open page. Was it added?"""
        with self._lock:
            free = sum(map(self._is_session_connected, self._owners)) < most
            if free:
                self._owners[session] = owner
            return free

    def is_connected(self, owner: str) -> bool:
        """True while any page of the owner is open."""
        with self._lock:
            sessions = [session for session, other in self._owners.items() if other == owner]
        return any(map(self._is_session_connected, sessions))
