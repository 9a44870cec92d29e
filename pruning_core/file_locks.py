"""Locks of open files, which end with the process that holds them, on POSIX and on Windows."""

import sys
from typing import IO

if sys.platform == "win32":
    import msvcrt
    import time

    RETRY = 0.02
    """Seconds between two tries: what Windows has itself gives up after ten seconds."""

    def lock_file(file: IO[bytes], wait: bool) -> bool:
        """Locks an open file until it is closed; False where it is locked and `wait` is False."""
        while True:
            file.seek(0)
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            except PermissionError:
                if not wait:
                    return False
                time.sleep(RETRY)
            else:
                return True

else:
    import fcntl

    def lock_file(file: IO[bytes], wait: bool) -> bool:
        """Locks an open file until it is closed; False where it is locked and `wait` is False."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True
