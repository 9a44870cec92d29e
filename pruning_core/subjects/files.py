"""Reads subject files: TOML with one [name] table per network."""

import re
import reprlib
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from pruning_core.registry import find
from pruning_core.subjects.entry import Entry
from pruning_core.subjects.hugging_face import PREFIX
from pruning_core.subjects.hugging_face_entry import HuggingFaceEntry
from pruning_core.types import PruningError
from pruning_core.user_code import OBJECT_PATH
from pruning_core.zoo import MODELS

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}")
KEYS: dict[str, tuple[type, ...]] = {
    "model": (str,),
    "data": (str,),
    "weights": (str,),
    "transform": (str,),
    "arguments": (dict,),
    "data_arguments": (dict,),
    "task": (str,),
    "classes": (list, int),
    "outputs": (list,),
    "samples": (int,),
    "embeddings": (bool,),
    "label": (str,),
    "help": (str,),
    "path": (str, list),
}
"""Key of a [name] table -> the types that its value may have."""
KINDS: dict[type, str] = {
    str: "a text",
    int: "a whole number",
    bool: "true or false",
    list: "a list",
    dict: "a table",
}
LARGEST = 1_000_000
"""Bytes that a subject file may have."""
EXAMPLE = '[my_net] with model = "my_package.nets:build" and data = "my_package.data:loaders"'


def read_file(path: Path) -> tuple[Entry, ...]:
    """The subjects in a file. Raises PruningError where the file cannot be read or has a mistake.

    Nothing is imported.
    """
    try:
        if path.exists() and not path.is_file():
            raise PruningError(f"The subject file {path} is a folder or a device, not a file.")
        if path.stat().st_size > LARGEST:
            raise PruningError(f"The subject file {path} is larger than {LARGEST:,} bytes.")
        return _parsed(path.resolve(), path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise PruningError(f"The subject file {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise PruningError(f"The subject file {path} is not a text file in UTF-8.") from error


@lru_cache(maxsize=64)
def _parsed(path: Path, text: str) -> tuple[Entry, ...]:
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PruningError(f"The subject file {path} is not valid TOML: {error}.") from error
    if not raw or not all(isinstance(table, dict) for table in raw.values()):
        raise PruningError(f"The subject file {path} must hold tables such as {EXAMPLE}.")
    return tuple(_entry(name, table, path) for name, table in raw.items())


def _entry(name: str, table: Mapping[str, Any], file: Path) -> Entry:
    where = f"[{name}] in {file}"
    if not NAME.fullmatch(name):
        raise PruningError(
            f"'{name}' in {file} is no name of a network: use up to 60 letters, digits, _ - and ."
        )
    if name in MODELS:
        raise PruningError(f"{where} has the name of a network of the package: choose another.")
    for key, value in table.items():
        _check(key, value, where)
    for key in ("model", "data"):
        if key not in table:
            raise PruningError(f"{where} has no {key}: write {EXAMPLE}.")
    for key in ("model", "transform"):
        path = table.get(key, "")
        if path and not path.startswith(PREFIX) and not OBJECT_PATH.fullmatch(path):
            raise PruningError(
                f"'{key}' of {where} is '{table[key]}'; write my_package.my_module:name."
            )
    if "data_arguments" in table and table["model"].startswith(PREFIX):
        raise PruningError(f"'data_arguments' of {where}: write 'arguments' for a folder's data.")
    return _read(name, table, file)


def _read(name: str, table: Mapping[str, Any], file: Path) -> Entry:
    """The entry of a table without mistakes."""
    folder = file.parent
    paths = table.get("path", ".")
    data = table["data"]
    model = table["model"]
    in_folder = model.startswith(PREFIX)
    form = HuggingFaceEntry if in_folder else Entry
    is_function = OBJECT_PATH.fullmatch(data) and not in_folder
    return form(
        name=name,
        file=file,
        model=f"{PREFIX}{_absolute(folder, model.removeprefix(PREFIX))}" if in_folder else model,
        data=data if is_function else str(_absolute(folder, data)),
        weights=_absolute(folder, table["weights"]) if "weights" in table else None,
        transform=table.get("transform", ""),
        arguments=table.get("arguments", {}),
        data_arguments=table.get("data_arguments", {}),
        classes=_tuple(table.get("classes")),
        outputs=_tuple(table.get("outputs")),
        samples=table.get("samples"),
        task=table.get("task", ""),
        embeddings=table.get("embeddings", False),
        label=table.get("label", ""),
        help=table.get("help", ""),
        path=tuple(
            _absolute(folder, part) for part in ([paths] if isinstance(paths, str) else paths)
        ),
    )


def _check(key: str, value: Any, where: str) -> None:
    """Raises PruningError for an unknown key and for a value of another type."""
    kinds = find(KEYS, key, f"setting of {where} called")
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        words = " or ".join(KINDS[kind] for kind in kinds)
        raise PruningError(f"'{key}' of {where} must be {words}, not {value!r}.")
    part = {"classes": str, "outputs": int, "path": str}.get(key)
    if isinstance(value, list) and not all(type(item) is part for item in value):
        words = "whole numbers" if part is int else "texts"
        raise PruningError(f"'{key}' of {where} must be a list of {words}, not {value!r}.")


def _absolute(folder: Path, text: str) -> Path:
    """A path of the file; it is relative to the file's folder. Raises PruningError for no path."""
    try:
        path = (folder / Path(text).expanduser()).resolve()
        path.exists()  # raises for a path that is too long
    except (OSError, ValueError, RuntimeError) as error:
        shown = reprlib.repr(text)
        why = getattr(error, "strerror", None) or error
        raise PruningError(f"{shown} in {folder} is not a path: {why}.") from error
    return path


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
