"""The class folders and the image files under a folder."""

import os
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pruning_core.types import PruningError

ENDINGS = (
    ".jpg",
    ".jpeg",
    ".jfif",
    ".png",
    ".webp",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".avif",
)
"""Endings of image files, in lower case. Files with another ending are not read."""
NOT_DATA = frozenset(
    ("__macosx", "@eadir", "lost+found", "$recycle.bin", "system volume information")
)
"""Folders that operating systems add, in lower case. They hold thumbnails and other leftovers."""


def printable(path: Path | str) -> str:
    """The path as text that can be shown and stored. Bytes that are not UTF-8 become \\xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@contextmanager
def named_below(root: Path, name: str) -> Iterator[None]:
    """Errors of the block name files by their path below root, and root itself by `name`.

    Pages show these errors, and the paths of a server are not for its visitors.
    """
    try:
        yield
    except PruningError as error:
        here = printable(root)
        text = str(error).replace(f"{here}/", "").replace(here, name)
        raise type(error)(text) from error


def class_name(folder: str) -> str:
    """The class of a folder's name. Composed and decomposed accents give the same class."""
    return unicodedata.normalize("NFC", printable(folder))


def is_data(name: str) -> bool:
    """Does a file or folder of this name belong to the data? Hidden ones do not.

    >>> is_data("cat.png"), is_data("._cat.png"), is_data("__MACOSX")
    (True, False, False)
    """
    return not name.startswith(".") and name.lower() not in NOT_DATA


def is_image(name: str) -> bool:
    """Has the name of a file the ending of an image?"""
    return is_data(name) and name.lower().endswith(ENDINGS)


def entries(folder: Path) -> list["os.DirEntry[str]"]:
    """The data's files and folders in a folder, sorted by name.

    Raises PruningError where the folder cannot be read.
    """
    try:
        with os.scandir(folder) as listing:
            kept = [entry for entry in listing if is_data(entry.name)]
    except OSError as error:
        raise PruningError(
            f"The folder {printable(folder)} cannot be read ({error.strerror})."
        ) from error
    return sorted(kept, key=lambda entry: entry.name)


def is_folder(entry: "os.DirEntry[str]") -> bool:
    """Is it a folder, or a link to one? A link that leads nowhere is none."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted."""
    return [entry.name for entry in entries(folder) if is_folder(entry)]


def loose_images(root: Path, *folders: Path) -> tuple[str, ...]:
    """A sentence where images lie beside the class folders in these folders; () where none do.

    root: the folder that all of them are below.
    """
    beside = [
        printable((folder / entry.name).relative_to(root))
        for folder in folders
        for entry in entries(folder)
        if is_image(entry.name) and not is_folder(entry)
    ]
    if not beside:
        return ()
    return (
        f"Images that lie beside the class folders are not used ({len(beside):,}, such as "
        f"{beside[0]}): move them into class folders.",
    )


def image_paths(folder: Path) -> list[Path]:
    """All image files under a class folder, sorted by path. Linked folders are followed.

    Raises PruningError for a name of an image that is no regular file, for a link that leads back
    into the data, and for a folder without an image.
    """
    paths = sorted(_walk(folder))
    if not paths:
        raise PruningError(
            f"The folder {printable(folder)} has no image. Add images "
            f"({', '.join(ENDINGS)}) or remove the folder."
        )
    return paths


def _walk(folder: Path) -> Iterator[Path]:
    """The image files, in no fixed order."""
    roots = [folder.parent.resolve()]
    unread = [folder]
    while unread:
        current = unread.pop()
        for entry in entries(current):
            path = current / entry.name
            if is_folder(entry):
                if entry.is_symlink():
                    roots.append(_linked(path, roots))
                unread.append(path)
            elif is_image(entry.name):
                _check_regular(path)
                yield path


def _linked(path: Path, roots: Sequence[Path]) -> Path:
    """The folder that a link leads to.

    Raises PruningError where it holds one of the roots or is a part of one: its images would be
    read twice, or without end.
    """
    target = path.resolve()
    if any(target.is_relative_to(root) or root.is_relative_to(target) for root in roots):
        raise PruningError(
            f"The link {printable(path)} leads to a folder that is read already: remove the link."
        )
    return target


def _check_regular(path: Path) -> None:
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        raise PruningError(
            f"The image {printable(path)} cannot be read ({error.strerror}); replace or remove it."
        ) from error
    if not regular:
        raise PruningError(
            f"{printable(path)} has the name of an image, but it is no regular file: remove it."
        )
