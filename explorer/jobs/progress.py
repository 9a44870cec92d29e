"""How far a background job is, and seconds as text."""

from dataclasses import dataclass

from explorer.texts.translate import _


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    share: of the work, in [0, 1]; left: seconds, estimated from the speed so far, None before an
    estimate exists; stage: what the job does now.
    """

    share: float
    left: float | None
    stage: str


def clock(seconds: float) -> str:
    """75 -> 1 min 15 s."""
    whole = round(seconds)
    if whole < 60:
        return _("{seconds} s", seconds=whole)
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return _("{minutes} min {rest:02d} s", minutes=minutes, rest=rest)
    return _("{hours} h {minutes:02d} min", hours=minutes // 60, minutes=minutes % 60)
