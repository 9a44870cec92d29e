"""The limits of a server: one table for the flags, the environment, the help and the docs."""

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from explorer.memory import resident_mb
from pruning_core.settings import Setting, setting, settings_of, value_of
from pruning_core.training.config import MAX_EPOCHS
from pruning_core.types import PruningError

DEMO = {"upload_mb": "0", "epochs": "3", "job_minutes": "10"}
"""The limits of a demonstration that are not set otherwise."""


@dataclass(frozen=True)
class Limits:
    """What one server gives to its visitors."""

    upload_mb: int = setting(400, 0, 100_000, "megabytes of one upload; 0: no uploads")
    sessions: int = setting(
        50, 1, 10_000, "open pages of all browsers; another one is asked to come back later"
    )
    memory_mb: int = setting(
        0,
        0,
        999_999,
        "megabytes of resident memory above which no new page and no new run starts; 0: no limit",
    )
    running_jobs: int = setting(1, 1, 64, "background runs that compute at the same time")
    job_processes: int = setting(
        1,
        0,
        1,
        "1: runs compute in processes of lower priority (not on Windows); 0: in the server itself",
    )
    waiting_jobs: int = setting(8, 0, 10_000, "waiting runs, of all browsers")
    jobs_per_browser: int = setting(2, 1, 1000, "active runs of one browser")
    job_minutes: float = setting(120.0, 0.1, 100_000.0, "minutes of one run")
    grace_seconds: float = setting(
        60.0, 1.0, 100_000.0, "seconds without an open page after which a browser's runs stop"
    )
    unfinished_runs: int = setting(
        60, 0, 10_000, "interrupted runs of all browsers that are kept, so that they can continue"
    )
    unfinished_days: float = setting(7.0, 0.01, 3650.0, "days for which interrupted runs are kept")
    epochs: int = setting(MAX_EPOCHS, 1, MAX_EPOCHS, "epochs of one training")
    demo: bool = setting(
        False,
        0,
        1,
        "a demonstration: the run history is for reading only and nothing of a visitor is kept; "
        f"where they are not set, there are no uploads, {DEMO['epochs']} epochs, and "
        f"{DEMO['job_minutes']} minutes of one run",
    )

    @property
    def grace(self) -> str:
        """The grace time in seconds, as texts write it."""
        return f"{self.grace_seconds:g}"


def variable(name: str) -> str:
    """The environment variable of a limit: PRUNING_EXPLORER_UPLOAD_MB."""
    return f"PRUNING_EXPLORER_{name.upper()}"


def flag(name: str) -> str:
    """The flag of a limit: --upload-mb."""
    return f"--{name.replace('_', '-')}"


SETTINGS = settings_of(Limits)
VARIABLES = tuple(variable(entry.name) for entry in SETTINGS)


def limits(given: Mapping[str, str] | None = None) -> Limits:
    """The limits that the environment variables set. given: these variables instead.

    Raises PruningError for a value that is no number or is outside its range.
    """
    variables = os.environ if given is None else given
    return _limits(tuple(variables.get(name, "") for name in VARIABLES))


@lru_cache(maxsize=16)
def _limits(texts: tuple[str, ...]) -> Limits:
    """The limits of these texts, one for each setting; "" where it is not set."""
    given = {entry.name: text for entry, text in zip(SETTINGS, texts, strict=True) if text}
    if given.get("demo", "0") != "0":
        given = DEMO | given
    values: dict[str, Any] = {
        entry.name: value_of(_named(entry), given[entry.name])
        for entry in SETTINGS
        if entry.name in given
    }
    return Limits(**values)


def add_limits(command: argparse.ArgumentParser) -> None:
    """Adds a flag for each limit."""
    group = command.add_argument_group(
        "limits", "Each can be set by an environment variable instead: PRUNING_EXPLORER_SESSIONS."
    )
    for entry in SETTINGS:
        if isinstance(entry.default, bool):
            group.add_argument(flag(entry.name), action="store_const", const="1", help=entry.help)
        else:
            text = f"{entry.help}; {entry.least:g} to {entry.most:,g}, default {entry.default:,g}"
            group.add_argument(flag(entry.name), metavar="N", help=text)


def set_limits(options: argparse.Namespace) -> Limits:
    """Sets the environment variables of the flags that are given, for the pages.

    Raises PruningError for a wrong value, and sets nothing.
    """
    given = {
        variable(entry.name): text
        for entry in SETTINGS
        if (text := getattr(options, entry.name)) is not None
    }
    chosen = limits({**os.environ, **given})
    if chosen.memory_mb and resident_mb() is None:
        raise PruningError(
            f"{flag('memory_mb')} needs Linux: this system does not say how much memory is used."
        )
    os.environ.update(given)
    return chosen


def markdown() -> str:
    """The table of the docs, a row for each limit."""
    lines = ["| flag | variable | limits | range | default |", "|---|---|---|---|---|"]
    for entry in SETTINGS:
        switch = isinstance(entry.default, bool)
        range_text = "0 or 1" if switch else f"{entry.least:g} to {entry.most:,g}"
        default = f"{entry.default:,g}"
        lines.append(
            f"| `{flag(entry.name)}` | `{variable(entry.name)}` | {entry.help} | {range_text} | "
            f"{default} |"
        )
    return "\n".join(lines)


def _named(entry: Setting) -> Setting:
    """The setting under the names by which a user sets it, for error messages."""
    return replace(entry, name=f"{flag(entry.name)} ({variable(entry.name)})")
