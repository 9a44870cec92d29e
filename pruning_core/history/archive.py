"""Runs as a zip file, which another installation imports.

`runs.json` has every run, `files/` their tensors by hash. An import checks each number, name and
size, and unpickles nothing.
"""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from pruning_core.export.archive import zip_archive
from pruning_core.history.database import HistoryFailed
from pruning_core.history.history import History
from pruning_core.history.run import (
    RUNNING,
    Run,
    checked_note,
    checked_tags,
    from_record,
    to_record,
)
from pruning_core.history.tensor_files import DIGEST
from pruning_core.history.tensors import (
    ANSWERS,
    CURVES,
    MASKS,
    START_MASKS,
    WEIGHTS,
    unpack_answers,
    unpack_curves,
    unpack_masks,
    unpack_tensors,
)
from pruning_core.sensitivity.points import POINTS, unpack_points
from pruning_core.types import PruningError

FORMAT = "pruning-explorer-runs-1"
LIST = "runs.json"
MOST_RUNS = 20_000
MOST_ENTRIES = 100_000
LARGEST_LIST = 200 << 20
LARGEST_FILE = 256 << 20
LARGEST_SUM = 2 << 30
"""Unpacked bytes: of the list, of one file, and of all files together."""
FIELDS = {
    **{"id": str, "kind": str, "state": str, "tags": list, "files": dict, "record": dict},
    **dict.fromkeys(("parent", "started", "note", "pinned"), object),
}
"""The fields of an entry of the list, with their types; object: it is checked where it is read."""
CHECKS: dict[str, Callable[[bytes, Run], object]] = {
    MASKS: lambda content, run: unpack_masks(content),
    START_MASKS: lambda content, run: unpack_masks(content),
    ANSWERS: lambda content, run: unpack_answers(content, run.task.name),
    CURVES: lambda content, run: unpack_curves(content),
    POINTS: lambda content, run: unpack_points(content, run.task),
    WEIGHTS: lambda content, run: unpack_tensors(content),
}
"""A file's name -> what must be able to read it."""


@dataclass(frozen=True)
class Imported:
    """What an import did: runs that are new, and runs that were there already."""

    new: tuple[str, ...]
    known: int


def to_zip(history: History, runs: Iterable[Run]) -> bytes:
    """The runs with their files. Raises HistoryFailed for a file that is missing or damaged."""
    listed = []
    files: dict[str, bytes] = {}
    for run in runs:
        own = {name: getattr(run, name) for name in ("id", "parent", "kind", "state", "started")}
        user = {"note": run.note, "tags": list(run.tags), "pinned": run.pinned}
        record = json.loads(to_record(run))
        listed.append({**own, **user, "files": dict(run.files), "record": record})
        for name, digest in run.files.items():
            files[f"files/{digest}"] = history.file(run, name) or b""
    content = json.dumps({"format": FORMAT, "runs": listed}, indent=1).encode()
    return zip_archive({LIST: content, **files})


def import_zip(history: History, source: Path | BytesIO) -> Imported:
    """Adds the runs of a `to_zip` file. Runs that are there already stay as they are.

    All runs and files are checked before the first one is kept. Raises PruningError, in one
    sentence, for another file and for one beyond the limits, and HistoryFailed.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            _check_sizes(archive)
            runs = _read_list(archive)
            present = {run.id for deleted in (False, True) for run in history.runs(deleted=deleted)}
            new = [(run, names) for run, names in runs if run.id not in present]
            for run, names in new:
                for name, digest in names.items():
                    _read_file(archive, run, name, digest)
            for run, names in new:
                read = {n: _read_file(archive, run, n, digest) for n, digest in names.items()}
                history.save(run, read)
    except HistoryFailed:
        raise
    except (
        *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError),
        *(OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError),
    ) as error:
        raise PruningError(
            f"The file is no zip of runs, or it is damaged: {_reason(error)}."
        ) from error
    return Imported(tuple(run.id for run, _ in new), len(runs) - len(new))


def _reason(error: Exception) -> str:
    """What is wrong with the file, without the words of Python."""
    if isinstance(error, KeyError | TypeError | AttributeError | OverflowError):
        return "a part of it has an unknown form"
    return " ".join(str(error).split())[:100].rstrip(".")


def _check_sizes(archive: zipfile.ZipFile) -> None:
    entries = archive.infolist()
    if len(entries) > MOST_ENTRIES:
        raise PruningError(f"The zip has {len(entries):,} entries; at most {MOST_ENTRIES:,}.")
    if (total := sum(entry.file_size for entry in entries)) > LARGEST_SUM:
        raise PruningError(f"Unpacked, the zip has {total:,} bytes; at most {LARGEST_SUM:,}.")


def _read_list(archive: zipfile.ZipFile) -> list[tuple[Run, dict[str, str]]]:
    """Each run, and the hashes of its files by name."""
    try:
        raw = json.loads(_read(archive, LIST, LARGEST_LIST))
    except RecursionError as error:
        raise ValueError(f"{LIST} is nested too deep") from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT}")
    if not _are_runs(raw.get("runs")):
        raise ValueError(f"its {LIST} is no list of runs")
    if len(raw["runs"]) > MOST_RUNS:
        raise PruningError(f"The zip has {len(raw['runs']):,} runs; at most {MOST_RUNS:,}.")
    return [(_run(entry), _named(entry["files"])) for entry in raw["runs"]]


def _are_runs(entries: Any) -> bool:
    """Is it a list of objects, each with the fields of a run?"""
    return isinstance(entries, list) and all(
        isinstance(entry, dict)
        and entry.keys() >= FIELDS.keys()
        and all(isinstance(entry[name], kind) for name, kind in FIELDS.items())
        for entry in entries
    )


def _run(entry: Mapping[str, Any]) -> Run:
    if entry["state"] == RUNNING or type(entry["pinned"]) is not bool:
        raise ValueError("a run is not finished, or its pin is neither true nor false")
    return from_record(
        json.dumps(entry["record"]),
        **{name: entry[name] for name in ("id", "parent", "kind", "state", "started", "pinned")},
        note=checked_note(_text(entry["note"])),
        tags=checked_tags(map(_text, entry["tags"])),
    )


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError(f"{str(value)[:40]!r} is no text")
    return value


def _named(files: Mapping[str, Any]) -> dict[str, str]:
    for name, digest in files.items():
        if name not in CHECKS or not DIGEST.fullmatch(_text(digest)):
            raise ValueError(f"'{str(name)[:40]}' is no file of a run")
    return dict(files)


def _read_file(archive: zipfile.ZipFile, run: Run, name: str, digest: str) -> bytes:
    content = _read(archive, f"files/{digest}", LARGEST_FILE)
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError(f"the content of files/{digest} is another one")
    CHECKS[name](content, run)
    return content


def _read(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """An entry of at most `most` bytes. The size in its header is not trusted."""
    try:
        info = archive.getinfo(name)
    except KeyError as error:
        raise ValueError(f"it has no {name}") from error
    with archive.open(info) as entry:
        content = entry.read(most + 1)
    if len(content) > most:
        raise PruningError(f"{name} in the zip has more than {most:,} bytes.")
    return content
