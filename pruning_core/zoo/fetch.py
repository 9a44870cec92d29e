"""One file from the network: streamed, checked, put in place at once."""

import hashlib
import os
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

from pruning_core.types import PruningError

Progress = Callable[[float, str], None]
"""Called with the fraction done, in [0, 1], and the name of the file."""

SECONDS = 8.0
"""Silence after which a server counts as unreachable."""
CHUNK = 1 << 18


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def fetch(
    url: str, target: Path, algorithm: str, digest: str, progress: Progress | None = None
) -> None:
    """Download `url` to `target` unless it is there in full; its digest must begin with `digest`
    (in hexadecimal).

    Raises OSError when the server cannot be reached, within seconds, and PruningError when another
    file came.
    """
    if target.is_file() and _digest(target, algorithm).startswith(digest):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    found = hashlib.new(algorithm)
    # A name of its own: two sessions may fetch the same file at once.
    handle, part = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".part")
    try:
        with (
            os.fdopen(handle, "wb") as out,
            urllib.request.urlopen(url, timeout=SECONDS) as response,
        ):
            total = int(response.headers.get("Content-Length") or 0)
            done = 0
            while chunk := response.read(CHUNK):
                out.write(chunk)
                found.update(chunk)
                done += len(chunk)
                if progress:
                    progress(done / total if total else 0.0, target.name)
        if not found.hexdigest().startswith(digest):
            raise PruningError(
                f"The download of {target.name} is damaged or is another file; try again later."
            )
        os.replace(part, target)
    finally:
        Path(part).unlink(missing_ok=True)
