"""The scripts of the components."""

from collections.abc import Sequence
from pathlib import Path


def joined(folder: Path, files: Sequence[str]) -> str:
    """A component's script: its files joined into one module. files: relative to the folder."""
    return "\n".join((folder / file).read_text(encoding="utf-8") for file in files)
