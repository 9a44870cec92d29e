"""Texts with labels in JSON lines, CSV or TSV files."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pruning_core.types import PruningError

ENDINGS = (".jsonl", ".csv", ".tsv")


@dataclass(frozen=True)
class Place:
    """Where a row stands."""

    line: int
    path: Path

    def __str__(self) -> str:
        return f"Line {self.line} of {self.path}"


@dataclass(frozen=True)
class TextTable:
    """Texts of a file in their order. seconds: the second text of each pair, None for single texts.

    labels: class numbers.
    """

    texts: tuple[str, ...]
    seconds: tuple[str, ...] | None
    labels: tuple[int, ...]


def read_texts(
    path: Path, classes: Sequence[str], text: str = "text", label: str = "label", second: str = ""
) -> TextTable:
    """The texts in the columns (or keys) `text` and `second`, with class numbers or names.

    label: "" for texts without labels, which get the number 0. Raises PruningError, with the line,
    for a file that cannot be read so.
    """
    numbers = {str(number): number for number in range(len(classes))}
    numbers |= {name: number for number, name in enumerate(classes)}
    texts: list[str] = []
    seconds: list[str] = []
    labels: list[int] = []
    for place, row in _rows(path):
        texts.append(_text(row, text, place))
        if second:
            seconds.append(_text(row, second, place))
        given = str(_value(row, label, place)) if label else "0"
        if given not in numbers:
            shown = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
            raise PruningError(
                f"{place} has the label {given!r}, which is no class of the network: {shown}."
            )
        labels.append(numbers[given])
    if not texts:
        raise PruningError(f"The file {path} has no texts.")
    return TextTable(tuple(texts), tuple(seconds) if second else None, tuple(labels))


def _rows(path: Path) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """Place and content of every row."""
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise PruningError(f"The file {path} is none of {', '.join(ENDINGS)}.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if ending == ".jsonl":
                yield from _json_rows(path, file)
                return
            for row in (
                reader := csv.DictReader(file, delimiter="," if ending == ".csv" else "\t")
            ):
                yield Place(reader.line_num, path), row
    except OSError as error:
        raise PruningError(f"The file {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise PruningError(f"The file {path} is not a text file in UTF-8.") from error
    except csv.Error as error:
        raise PruningError(f"The file {path} is not a valid table: {error}.") from error


def _json_rows(path: Path, lines: Iterator[str]) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = Place(number, path)
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise PruningError(f"{place} is not valid JSON: {error}.") from error
        if not isinstance(row, dict):
            raise PruningError(f'{place} is not an object such as {{"text": "...", "label": 0}}.')
        yield place, row


def _value(row: Mapping[str, Any], key: str, place: Place) -> Any:
    if row.get(key) is None:
        known = ", ".join(str(name) for name in row if name is not None)
        raise PruningError(f"{place} has no '{key}'; it has: {known}.")
    return row[key]


def _text(row: Mapping[str, Any], key: str, place: Place) -> str:
    value = _value(row, key, place)
    if not isinstance(value, str):
        raise PruningError(f"'{key}' in line {place.line} of {place.path} is no text: {value!r}.")
    return value
