"""Who is there: jobs belong to a browser, and a browser is there while any of its tabs is
connected. Knows no Streamlit.

A reload, or the same link opened again, makes a new session; the browser stays the same, known by
the random cookie that Streamlit's server gives each one against cross-site requests. The cookie is
never in an address, so a shared link shares no job.
"""

import hashlib
import re
import threading
from collections.abc import Callable

COOKIE = "_streamlit_xsrf"
TOKEN = re.compile(r"2\|([0-9a-f]{8})\|([0-9a-f]{32,})\|\d+")
MOST = 1000


def browser(cookie: str, session: str) -> str:
    """The owner of a session's jobs: a hash of its browser's token, or the session itself where
    there is no such cookie.

    The cookie is 2|mask|token xor mask|time, in hexadecimal, with a new mask in every answer: only
    the token stays.
    """
    found = TOKEN.fullmatch(cookie.strip("\"'"))
    if found is None or len(found[2]) % 2:
        return session
    mask = bytes.fromhex(found[1])
    masked = bytes.fromhex(found[2])
    token = bytes(byte ^ mask[at % len(mask)] for at, byte in enumerate(masked))
    return hashlib.sha256(token).hexdigest()


class Owners:
    """Which sessions each owner has. `connected`: has that session an open page? Safe to use from
    any thread.
    """

    def __init__(self, connected: Callable[[str], bool]) -> None:
        self._connected = connected
        self._owners: dict[str, str] = {}
        self._lock = threading.Lock()

    def seen(self, owner: str, session: str) -> None:
        """That session belongs to that owner. Told in every run, since old sessions that are not
        connected are forgotten.
        """
        with self._lock:
            self._owners[session] = owner
            if len(self._owners) > MOST:
                self._owners = {
                    name: whose
                    for name, whose in self._owners.items()
                    if name == session or self._connected(name)
                }

    def there(self, owner: str) -> bool:
        """Is any page of that owner open?"""
        with self._lock:
            sessions = [session for session, whose in self._owners.items() if whose == owner]
        return any(map(self._connected, sessions))
