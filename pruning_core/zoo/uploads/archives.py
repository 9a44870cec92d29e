"""Unpacks an uploaded zip of images. Names, counts and sizes are checked first."""

import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from pruning_core.types import PruningError
from pruning_core.zoo.image_files import entries, is_data, is_folder, is_image
from pruning_core.zoo.read_image import MAX_BYTES as MAX_IMAGE
from pruning_core.zoo.read_image import check_image

MAX_ZIP = 600 << 20
"""The largest zip file."""
MAX_UNPACKED = 1200 << 20
"""The largest sum of the images in it."""
MAX_IMAGES = 50_000
MAX_ENTRIES = 200_000
MAX_DEPTH = 8
"""Folders above an image."""
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
UTF8 = 0x800
ENCRYPTED = 0x1
CHUNK = 1 << 20


def unpack_images(archive: Path, target: Path) -> Path:
    """Writes the images in a zip file under target, which must be empty.

    Returns the folder with train/, val/ and test/, or with the class folders: a single folder
    around them is passed. Raises PruningError for a file that is no such zip, is beyond the
    limits, or has names that lead out of the folder, links, or images that cannot be read.
    """
    if archive.stat().st_size > MAX_ZIP:
        raise PruningError(f"The zip file is larger than {MAX_ZIP >> 20} MB.")
    try:
        with zipfile.ZipFile(archive) as opened:
            chosen = _checked(opened.infolist())
            for name, entry in chosen.items():
                _write(opened, entry, target / name)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise PruningError(
            f"The zip file is damaged ({str(error)[:80]}): pack it again."
        ) from error
    except OSError as error:
        raise PruningError(f"The images cannot be written ({error.strerror}).") from error
    return _inner(target)


def _checked(listed: list[zipfile.ZipInfo]) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """The images, by their path. Raises PruningError for what must not be unpacked."""
    if len(listed) > MAX_ENTRIES:
        raise PruningError(f"The zip file has {len(listed):,} entries: at most {MAX_ENTRIES:,}.")
    chosen: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for entry in listed:
        path = _safe_path(entry)
        if (
            entry.filename.endswith(("/", "\\"))
            or not all(map(is_data, path.parts))
            or not is_image(path.name)
        ):
            continue
        _check_entry(entry, path)
        if path in chosen:
            raise PruningError(f"The zip file has the name '{_short(path)}' twice.")
        chosen[path] = entry
    if not chosen:
        raise PruningError("The zip file has no images.")
    if len(chosen) > MAX_IMAGES:
        raise PruningError(f"The zip file has {len(chosen):,} images: at most {MAX_IMAGES:,}.")
    unpacked = sum(entry.file_size for entry in chosen.values())
    if unpacked > MAX_UNPACKED:
        raise PruningError(
            f"Unpacked, the images have {unpacked >> 20:,} MB: at most {MAX_UNPACKED >> 20:,} MB."
        )
    return chosen


def _safe_path(entry: zipfile.ZipInfo) -> PurePosixPath:
    """The entry's path inside the folder. Raises PruningError where it would lead out of it."""
    name = entry.filename
    if not entry.flag_bits & UTF8:  # some programs write UTF-8 without saying so
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            name = entry.filename
    path = PurePosixPath(name.replace("\\", "/"))  # some programs of Windows write them
    if path.is_absolute() or ".." in path.parts or ":" in name or "\0" in name:
        raise PruningError(
            f"The name '{_short(path)}' in the zip file leads out of its folder: pack it again."
        )
    return path


def _check_entry(entry: zipfile.ZipInfo, path: PurePosixPath) -> None:
    reason = ""
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
        reason = "is a link or no regular file"
    elif entry.flag_bits & ENCRYPTED:
        reason = "has a password"
    elif entry.compress_type not in METHODS:
        reason = "is packed by another method than deflate"
    elif entry.file_size > MAX_IMAGE:
        reason = f"has more than {MAX_IMAGE >> 20} MB"
    elif len(path.parts) > MAX_DEPTH or max(len(part.encode()) for part in path.parts) > 200:
        reason = "has a name that is too long"
    if reason:
        raise PruningError(f"'{_short(path)}' in the zip file {reason}: pack it again.")


def _short(path: PurePosixPath) -> str:
    return "".join(char if char.isprintable() else "?" for char in str(path))[-80:]


def _write(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> None:
    """Unpacks one image, at most as large as its entry says, and checks its header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(entry) as packed, path.open("xb") as out:
        while part := packed.read(CHUNK):
            out.write(part)
    check_image(path, _short(PurePosixPath(entry.filename)))


def _inner(folder: Path) -> Path:
    """The folder itself, or what a single folder around the images holds."""
    while True:
        inside = entries(folder)
        if len(inside) != 1 or not is_folder(inside[0]):
            return folder
        below = folder / inside[0].name
        if inside[0].name.lower() == "train" or not any(map(is_folder, entries(below))):
            return folder
        folder = below
