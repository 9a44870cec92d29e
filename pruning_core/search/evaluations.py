"""Finished evaluations of a search, kept in a file, so that none is measured twice."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from pruning_core.errors import PruningError
from pruning_core.plan import Plan
from pruning_core.search.candidates import Judged
from pruning_core.studies.store import fingerprint
from pruning_core.workspaces import Workspace

METHOD_VERSION = 1
"""Version of how ratios are measured. Raise it when equal ratios give other numbers than before."""
SETS_NOTHING = ("allocation", "sparsity", "schedule", "flow", "overrides", "fine_tune")
"""Fields of a plan that what is measured of given ratios does not depend on."""


def evaluations_file(plan: Plan, space: Workspace, folder: Path) -> Path:
    """The file of the evaluations that equal this plan's but for their ratios and budget."""
    fields = {n: v for n, v in asdict(plan).items() if n not in SETS_NOTHING}
    start = f"{METHOD_VERSION} {fingerprint(space)} {json.dumps(fields, sort_keys=True)}"
    return folder / f"evaluations-{hashlib.sha256(start.encode()).hexdigest()[:16]}.jsonl"


class Evaluations:
    """The finished evaluations of a file, by the numbers of removed groups of the parts.

    Each is one line, appended at once, so that several processes can share the file and a stopped
    one leaves all that it finished. A last line that is not complete is left out.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, Judged] = {}
        self._read = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        except OSError as error:
            raise PruningError(f"The folder {path.parent} cannot be used: {error}.") from error

    def __len__(self) -> int:
        self._read_new()
        return len(self._known)

    def get(self, removed: Mapping[str, int]) -> Judged | None:
        """What was measured, here or by another process; None where it was not."""
        self._read_new()
        return self._known.get(_key(removed))

    def add(self, removed: Mapping[str, int], judged: Judged) -> None:
        """Appends an evaluation. Raises PruningError where the file cannot be written."""
        raw = {
            "removed": dict(removed),
            "value": judged.value,
            "score": judged.score,
            "loss": judged.loss,
            "divergence": judged.divergence,
        }
        line = json.dumps(raw).encode() + b"\n"
        try:
            with self.path.open("ab") as file:
                # A line that a stopped process left open is closed first.
                open_line = self._ends_open()
                file.write(b"\n" + line if open_line else line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise PruningError(f"The file {self.path} cannot be written: {error}.") from error
        self._known[_key(removed)] = judged

    def _ends_open(self) -> bool:
        with self.path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            return size > 0 and file.read(1) != b"\n"

    def _read_new(self) -> None:
        """Reads the complete lines that were added since the last time."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            content = file.read()
        complete = content[: content.rfind(b"\n") + 1]
        self._read += len(complete)
        for line in complete.splitlines():
            try:
                raw = json.loads(line)
                judged = Judged(raw["value"], raw["score"], raw["loss"], None, raw["divergence"])
                self._known[_key(raw["removed"])] = judged
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # a damaged line is measured again


def _key(removed: Mapping[str, int]) -> str:
    return json.dumps(dict(sorted(removed.items())))
