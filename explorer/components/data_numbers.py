"""Numbers that show a component's script which message is newer.

Streamlit calls the script's function once for each new message. Calls that wait until the script
is loaded can come in any order: Chromium keeps them in a set, which has no order. Without a number,
the page would go on showing what came last, which may be older.
"""

import time

from explorer.session import state


def data_number(key: str, content: object) -> int:
    """The number of the content that the element with that key shows now.

    It stays while the content is equal to that of the last call, and rises when it is different.
    """
    last, number = state.stored(f"{key}_number", (None, 0))
    if number and content == last:
        return number
    # The time: so the number rises also for an open page whose session the server has lost.
    number = max(number + 1, time.time_ns() // 1_000_000)
    state.store(f"{key}_number", (content, number))
    return number


def numbered(number: int, data: bytes) -> bytes:
    """Data of a component that receives bytes: the number in 8 bytes, then the data."""
    return number.to_bytes(8, "little") + data
