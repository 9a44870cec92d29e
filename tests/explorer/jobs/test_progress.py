"""Seconds as text."""

import pytest

from explorer.jobs.progress import clock


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (75, "1 min 15 s"), (3599, "59 min 59 s"), (7260, "2 h 01 min")],
)
def test_seconds_are_written_in_at_most_two_units(seconds: float, text: str) -> None:
    assert clock(seconds) == text
