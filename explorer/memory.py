"""How much memory this process uses."""

import os
from pathlib import Path

STATUS = Path("/proc/self/statm")


def resident_mb() -> float | None:
    """Megabytes (10^6 bytes) of this process in memory now. None where the system has no /proc."""
    if not STATUS.exists():
        return None
    pages = int(STATUS.read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def is_full(most_mb: int) -> bool:
    """Does this process use more than so many megabytes? 0: there is no limit."""
    used = resident_mb() if most_mb else None
    return used is not None and used > most_mb
