"""The texts of the page Learn: one table for each language, looked up by key and language."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent


@cache
def texts(language: str) -> Mapping[str, str]:
    """All texts of a language by key, such as "granularity.title"."""
    return dict(_flat("", tomllib.loads((FOLDER / f"{language}.toml").read_text("utf-8"))))


def _flat(start: str, table: Mapping[str, object]) -> list[tuple[str, str]]:
    pairs = []
    for name, value in table.items():
        if isinstance(value, Mapping):
            pairs += _flat(f"{start}{name}.", value)
        else:
            pairs.append((start + name, str(value)))
    return pairs


def text(key: str, language: str, **values: object) -> str:
    """The text of that key in that language. values: what stands in its {places}."""
    template = texts(language)[key]
    return template.format(**values) if values else template


@dataclass(frozen=True)
class Words:
    """The texts of one part of the tables in one language: `Words("zh", "storage")("title")`."""

    language: str
    part: str

    def __call__(self, key: str, **values: object) -> str:
        return text(f"{self.part}.{key}", self.language, **values)
