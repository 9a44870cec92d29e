"""Files that are written whole or not at all."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from pruning_core.errors import PruningError


def write_files(
    folder: Path, contents: Mapping[str, bytes | str], instead_of: Collection[str] = ()
) -> None:
    """Writes all these files into a folder that exists, or none of them.

    contents: name of a file -> its bytes, or its text. Each file is written under a temporary name
    and synchronised with the disk; then all are renamed, in their order. A full disk or a killed
    process leaves no partial file under these names. instead_of: names of files of an earlier
    result. They are removed before the first file is renamed, so that a process which is killed in
    this moment leaves files of one result only.

    Raises PruningError where a file cannot be written.
    """
    temporary = {folder / f".{name}.{os.getpid()}": folder / name for name in contents}
    try:
        for path, content in zip(temporary, contents.values(), strict=True):
            _write_synchronised(path, content)
        if instead_of:
            for name in instead_of:
                (folder / name).unlink(missing_ok=True)
            _synchronise_names(folder)
        for path, target in temporary.items():
            os.replace(path, target)
        _synchronise_names(folder)
    except OSError as error:
        names = ", ".join(contents)
        raise PruningError(
            f"Cannot write {names} to the folder {folder}: {error.strerror or error}. "
            "Free some space, or name another folder."
        ) from error
    finally:
        for path in temporary:
            path.unlink(missing_ok=True)


def write_file(path: Path, content: bytes | str) -> None:
    """Writes a file whole or not at all, as `write_files`. A symbolic link stays one.

    What is no file, such as /dev/stdout, is written directly.

    Raises PruningError where it cannot be written.
    """
    if path.exists() and not path.is_file():
        try:
            path.write_bytes(_bytes(content))
        except OSError as error:
            raise PruningError(f"Cannot write to {path}: {error.strerror or error}.") from error
        return
    target = path.resolve()
    write_files(target.parent, {target.name: content})


def _write_synchronised(path: Path, content: bytes | str) -> None:
    with path.open("wb") as file:
        file.write(_bytes(content))
        file.flush()
        os.fsync(file.fileno())


def _synchronise_names(folder: Path) -> None:
    """After this, a power failure does not lose the new names."""
    if os.name == "posix":
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _bytes(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content
