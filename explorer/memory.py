"""How much memory this process and its workers use."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def resident_mb() -> float | None:
    """Megabytes (10^6 bytes) of this process in memory now, and those that its children do not
    share with others. None where the system has no /proc.
    """
    if not (PROC / "self" / "statm").exists():
        return None
    own, _shared = _pages("self")
    total = own
    for child in _children():
        with suppress(OSError):  # it has ended
            resident, shared = _pages(child)
            total += resident - shared
    return total * os.sysconf("SC_PAGE_SIZE") / 1e6


def is_full(most_mb: int) -> bool:
    """Do they use more than `most_mb` megabytes? 0: there is no limit."""
    used = resident_mb() if most_mb else None
    return used is not None and used > most_mb


def _pages(process: str) -> tuple[int, int]:
    """Pages in memory, and how many of them are of files or shared."""
    fields = (PROC / process / "statm").read_text(encoding="ascii").split()
    return int(fields[1]), int(fields[2])


def _children() -> Iterator[str]:
    """The processes that a thread of this one has started."""
    for path in (PROC / "self" / "task").glob("*/children"):
        with suppress(OSError):  # the thread has ended
            yield from path.read_text(encoding="ascii").split()
