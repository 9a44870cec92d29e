"""Uploads in the data folder: uploads/<digest>/, each written whole or not at all.

A network is weights.safetensors with card.json, and masks.safetensors where it starts from masks.
Images are a folder `images` with card.json. The name of an upload, such as resnet18@3fa2c1, holds
the first digits of its digest. Anyone who knows a name can open its upload; lists are per owner.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from pruning_core.types import PruningError
from pruning_core.zoo.request import data_root
from pruning_core.zoo.uploads.transform import InputTransform

NAME = re.compile(r"([a-z0-9][a-z0-9_.-]{0,59})@([0-9a-f]{6})")
"""An upload's name: what it is, and the first digits of its digest."""
DIGITS = 6
FOLDER_DIGITS = 32
MAX_STORED = 20 << 30
"""The largest sum of all uploads."""
PARTIAL = ".partial-"
ABANDONED_SECONDS = 24 * 3600
OWNERS = ".owners"
CARD = "card.json"
WEIGHTS = "weights.safetensors"
MASKS = "masks.safetensors"
IMAGES = "images"
Kind = TypeVar("Kind", bound="NetworkCard | ImagesCard")


@dataclass(frozen=True)
class NetworkCard:
    """A network that was uploaded.

    dataset: the name of its images; classes: outputs of the head; names: class of each output, ()
    where they are the images' classes in order; auxiliary: with auxiliary classifiers; file: name
    of the uploaded file; weights, masks: digests of the stored files, masks "" for none; notes:
    sentences on how the file was read.
    """

    architecture: str
    dataset: str
    classes: int
    names: tuple[str, ...]
    transform: InputTransform
    auxiliary: bool
    file: str
    weights: str
    masks: str
    notes: tuple[str, ...]

    @property
    def stem(self) -> str:
        """The name of the upload, without the digits."""
        return self.architecture

    @classmethod
    def read(cls, raw: dict[str, Any]) -> "NetworkCard":
        """The card in the values of a JSON text."""
        transform: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in raw["transform"].items()
        }
        lists: dict[str, Any] = {key: tuple(raw[key]) for key in ("names", "notes")}
        return _typed(cls(**{**raw, **lists, "transform": InputTransform(**transform)}))


@dataclass(frozen=True)
class ImagesCard:
    """Images that were uploaded.

    title: for people; file: name of the uploaded file; root: of train/ and test/, or of the class
    folders, below `images`; content: digest of the file; summary: what it holds.
    """

    title: str
    file: str
    root: str
    content: str
    summary: str

    @property
    def stem(self) -> str:
        """The name of the upload, without the digits: letters, digits and dashes of the title."""
        plain = re.sub(r"[^a-z0-9_]+", "-", self.title.lower()).strip("-_")[:30].strip("-_")
        return plain or "images"

    @classmethod
    def read(cls, raw: dict[str, Any]) -> "ImagesCard":
        """The card in the values of a JSON text."""
        return _typed(cls(**raw))


def _typed(card: Kind) -> Kind:
    """The card. Raises TypeError where a field is of another type, as in a damaged file."""
    for entry in fields(card):
        value = getattr(card, entry.name)
        texts = value if isinstance(value, tuple) else ()
        plain = entry.type not in (str, int, bool) or type(value) is entry.type
        if not plain or not all(type(text) is str for text in texts):
            raise TypeError(entry.name)
    return card


@dataclass(frozen=True)
class Stored:
    """An upload in the data folder."""

    folder: Path
    card: NetworkCard | ImagesCard

    @property
    def name(self) -> str:
        """What it is, and the first digits of its digest."""
        return f"{self.card.stem}@{self.folder.name[:DIGITS]}"


def uploads_folder() -> Path:
    """The folder of all uploads."""
    return data_root() / "uploads"


@contextmanager
def partial(*, stored: bool = True) -> Iterator[Path]:
    """A new folder beside the uploads, which is removed at the end, unless it was kept.

    stored: it is to be kept, so the uploads must be within MAX_STORED. Raises PruningError where it
    cannot be written, and where the uploads are above that.
    """
    root = uploads_folder()
    try:
        root.mkdir(parents=True, exist_ok=True)
        if stored:
            _remove_old(root)
            _check_stored(root)
        folder = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=root))
    except OSError as error:
        raise PruningError(
            f"Uploads cannot be stored in {root} ({error.strerror}): choose another data folder "
            "with --data."
        ) from error
    try:
        yield folder
    except OSError as error:
        raise PruningError(f"The upload cannot be stored ({error.strerror}).") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_old(root: Path) -> None:
    """Removes what is left of uploads that a stopped process did not finish."""
    for folder in root.glob(f"{PARTIAL}*"):
        if time.time() - folder.stat().st_mtime > ABANDONED_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _check_stored(root: Path) -> None:
    stored = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    if stored > MAX_STORED:
        raise PruningError(
            f"The uploads in {root} have {stored >> 30} GB; at most {MAX_STORED >> 30} GB are "
            "kept: remove old ones."
        )


def keep(folder: Path, card: NetworkCard | ImagesCard, owner: str) -> Stored:
    """Moves a complete folder to its place. The same upload twice is stored once."""
    kind = "network" if isinstance(card, NetworkCard) else "images"
    text = json.dumps({"kind": kind} | asdict(card), indent=2, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:FOLDER_DIGITS]
    target = uploads_folder() / digest
    if not target.is_dir():
        (folder / CARD).write_text(text, encoding="utf-8")
        try:
            os.rename(folder, target)
        except OSError:
            if not target.is_dir():  # another session has not stored the same upload meanwhile
                raise
    _add_owner(target, owner)
    return Stored(target, card)


def _add_owner(folder: Path, owner: str) -> None:
    """Adds an upload to the list of its owner."""
    if owner and folder not in _folders_of(owner):
        path = _list_of(owner)
        path.parent.mkdir(exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"\n{folder.name}\n")  # a full disk may have cut the last line off


def _list_of(owner: str) -> Path:
    """The file with an owner's uploads. Its name is a hash: an owner's id is a secret."""
    digest = hashlib.sha256(f"owner {owner}".encode()).hexdigest()
    return uploads_folder() / OWNERS / f"{digest}.txt"


def _folders_of(owner: str) -> list[Path]:
    path = _list_of(owner)
    names = path.read_text(encoding="utf-8").split() if path.is_file() else []
    return [uploads_folder() / name for name in names]


def is_upload_name(name: str) -> bool:
    """Has the name the form of an upload's, such as resnet18@3fa2c1?"""
    return NAME.fullmatch(name) is not None


def find_upload(name: str, kind: type[Kind]) -> tuple[Path, Kind]:
    """The folder and card of an upload.

    Raises PruningError where there is none of that name and kind. The error names no other upload.
    """
    match = NAME.fullmatch(name)
    if match:
        for folder in uploads_folder().glob(f"{match[2]}*"):
            stored = _read(folder)
            if stored is not None and stored.name == name and isinstance(stored.card, kind):
                return folder, stored.card
    raise PruningError(f"There is no upload '{name[:80]}' on this machine: upload its files again.")


def has_upload(name: str, kind: type[Kind]) -> bool:
    """Is there an upload of that name and kind?"""
    try:
        find_upload(name, kind)
    except PruningError:
        return False
    return True


def uploads(owner: str | None = None) -> list[Stored]:
    """The uploads of an owner, or of all, by name."""
    root = uploads_folder()
    if owner is not None:
        folders = _folders_of(owner)
    else:
        folders = list(root.iterdir()) if root.is_dir() else []
    kept = [_read(folder) for folder in folders if not folder.name.startswith(".")]
    return sorted(filter(None, kept), key=lambda stored: stored.name)


READERS: dict[str, Callable[[dict[str, Any]], NetworkCard | ImagesCard]] = {
    "network": NetworkCard.read,
    "images": ImagesCard.read,
}


def _read(folder: Path) -> Stored | None:
    """The upload in a folder, None for a folder that is none."""
    try:
        raw = json.loads((folder / CARD).read_text(encoding="utf-8"))
        return Stored(folder, READERS[raw.pop("kind")](raw))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
