"""How far a background job is, and seconds as text."""

from dataclasses import dataclass


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
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
