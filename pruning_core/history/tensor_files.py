"""Files beside the database, named by the hash of their content: masks, answers, weights, curves.

A file appears under its name only when it is written whole and on disk. Equal content is one file.
"""

import hashlib
import re
from collections.abc import Collection
from pathlib import Path

from pruning_core.history.database import HistoryFailed
from pruning_core.types import PruningError
from pruning_core.whole_files import write_files

FOLDER = "files"
DIGEST = re.compile(r"[0-9a-f]{64}")
LARGEST = 1 << 30
"""Most bytes of a file that is read."""


class TensorFiles:
    """The files in a folder. Raises HistoryFailed where they cannot be read or written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / FOLDER

    def write(self, content: bytes) -> str:
        """Writes the content, if it is not there, and returns its hash."""
        digest = hashlib.sha256(content).hexdigest()
        path = self._path(digest)
        try:
            if path.exists() and path.stat().st_size == len(content):
                return digest
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HistoryFailed(
                f"The history's file {path} cannot be written: {error.strerror}."
            ) from error
        try:
            write_files(path.parent, {digest: content})
        except PruningError as error:
            raise HistoryFailed(str(error)) from error
        return digest

    def read(self, digest: str) -> bytes:
        """The content. Raises HistoryFailed for a missing, damaged or too large file."""
        path = self._path(digest)
        try:
            if path.stat().st_size > LARGEST:
                raise HistoryFailed(f"The history's file {path} is larger than {LARGEST:,} bytes.")
            content = path.read_bytes()
        except OSError as error:
            raise HistoryFailed(
                f"The history's file {path} cannot be read: {error.strerror}."
            ) from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise HistoryFailed(f"The history's file {path} is damaged.")
        return content

    def delete_others(self, used: Collection[str]) -> None:
        """Deletes files whose hash is not in `used`, and parts of files."""
        try:
            for path in self.folder.glob("*/*"):
                if path.name not in used:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise HistoryFailed(f"A file of the history cannot be deleted: {error}.") from error

    def _path(self, digest: str) -> Path:
        if not DIGEST.fullmatch(digest):
            raise HistoryFailed("A file of the history has no valid name.")
        return self.folder / digest[:2] / digest
