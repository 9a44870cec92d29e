"""Download of one file: checked, and put in place when it is complete."""

import hashlib
import os
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

from pruning_core.types import PruningError

Progress = Callable[[float, str], None]
"""Called with the downloaded fraction, in [0, 1], and the name of the file."""

DOWNLOADS = "PRUNING_EXPLORER_DOWNLOADS"
"""Environment variable: off lets nothing be downloaded."""
TIMEOUT_SECONDS = 8.0
"""A server that sends nothing for this time counts as unreachable."""
CHUNK = 1 << 18
"""Bytes that are read at once."""


def digest_of(path: Path, algorithm: str = "sha256") -> str:
    """The digest of a file, in hexadecimal. algorithm: of hashlib."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def fetch(
    url: str, target: Path, algorithm: str, digest: str, progress: Progress | None = None
) -> None:
    """Downloads `url` to `target`, unless the complete file is already there.

    algorithm: of hashlib; digest: hexadecimal start of the file's digest. Raises OSError where the
    server cannot be reached and where `DOWNLOADS` is off, PruningError where the downloaded file
    has another digest.
    """
    if target.is_file() and digest_of(target, algorithm).startswith(digest):
        return
    if os.environ.get(DOWNLOADS) == "off":
        raise OSError("downloads are switched off")
    target.parent.mkdir(parents=True, exist_ok=True)
    received = hashlib.new(algorithm)
    # A unique name, because two sessions may download the same file at the same time.
    handle, part = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".part")
    try:
        with (
            os.fdopen(handle, "wb") as out,
            urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response,
        ):
            total = int(response.headers.get("Content-Length") or 0)
            done = 0
            while chunk := response.read(CHUNK):
                out.write(chunk)
                received.update(chunk)
                done += len(chunk)
                if progress:
                    progress(done / total if total else 0.0, target.name)
        if not received.hexdigest().startswith(digest):
            raise PruningError(
                f"The download of {target.name} is damaged or is another file; try again later."
            )
        os.replace(part, target)
    finally:
        Path(part).unlink(missing_ok=True)
