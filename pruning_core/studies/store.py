"""Where studies are kept: a folder per study, a file per finished run, each written whole or not at
all.
"""

import hashlib
import json
import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch

from pruning_core.model.model_io import tensors
from pruning_core.penalties import NONE
from pruning_core.studies.run import Accuracy, Result
from pruning_core.studies.study import VERSION, Run, Study
from pruning_core.types import PruningError, Split
from pruning_core.workspace import Workspace
from pruning_core.zoo import data_root

TITLE = "study.json"
WAY = 2
"""Of measuring: a higher one where a run would come to other numbers, so that those of before are
not taken for it.
"""
SAMPLES = 16
"""Images of each split that stand for all of them."""


def studies_root() -> Path:
    """The folder of all studies: `studies` beside the data."""
    return data_root() / "studies"


def fingerprint(space: Workspace) -> str:
    """SHA-256 of the base network's weights, of all splits' labels and `SAMPLES` of their images,
    and of the way to measure.
    """
    found = hashlib.sha256(f"study {VERSION} measured {WAY}".encode())
    if (
        space.dataset.outputs is not None
    ):  # losses are over these logits alone; studies of before read all of them
        found.update(f"logits {space.dataset.outputs}".encode())
    for name, tensor in space.model.state_dict().items():
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    for split in (space.dataset.train, space.dataset.val, space.dataset.test):
        found.update(split.labels.numpy().tobytes())
        for x, _ in _sample(split).batches(SAMPLES):
            for tensor in tensors(x):
                found.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
                found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()


def _sample(split: Split) -> Split:
    """Inputs from the first to the last at even distances."""
    return split.subset(torch.linspace(0, len(split) - 1, min(len(split), SAMPLES)).long().tolist())


def folder_of(study: Study, base: str, root: Path | None = None) -> Path:
    """The study's folder, by its own text and the fingerprint of what it starts from."""
    raw = json.loads(study.to_json())
    tune = raw["plan"]["fine_tune"]
    if (
        tune["penalty"] == NONE
    ):  # settings that came later: without them a study keeps the folder that it had before
        del tune["penalty"], tune["penalty_strength"]
    name = hashlib.sha256(f"{base}\n{json.dumps(raw, indent=2)}".encode()).hexdigest()[:16]
    return (root or studies_root()) / name


def begin(study: Study, base: str, folder: Path) -> None:
    """Makes the folder and writes down which study it is of. Raises PruningError where that cannot
    be done.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PruningError(f"The folder {folder} of the study cannot be made: {error}.") from error
    _write(folder / TITLE, {"base": base, "study": json.loads(study.to_json())})


def keep(result: Result, folder: Path) -> None:
    """Writes a finished run. Raises PruningError where the disk refuses."""
    _write(folder / _name(result.run), asdict(result))


def kept(run: Run, folder: Path) -> Result | None:
    """The finished run from disk; None where there is none, or no whole and sound one."""
    try:
        raw = json.loads((folder / _name(run)).read_text(encoding="utf-8"))
        found = _result(raw)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return found if found.run == run else None


def results(study: Study, folder: Path) -> tuple[Result, ...]:
    """The study's finished runs on disk, in its order."""
    return tuple(found for run in study.runs if (found := kept(run, folder)) is not None)


def saved(folder: Path) -> int:
    """How many runs the folder says to hold; their files are not read."""
    return sum(path.name != TITLE for path in folder.glob("*.json"))


def known(base: str, root: Path | None = None) -> tuple[Study, ...]:
    """The studies on disk that started from that network and those images, the last one begun or
    gone on with first.
    """
    titles = []
    for path in (root or studies_root()).glob(f"*/{TITLE}"):
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            when = path.stat().st_mtime
            if raw["base"] == base:
                titles.append((when, path.parent.name, Study.from_json(json.dumps(raw["study"]))))
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            continue
    return tuple(study for *_, study in sorted(titles, key=lambda each: each[:2], reverse=True))


def _name(run: Run) -> str:
    """A file for every run and no other: what a file name may not hold, and the hyphen between
    parts, as %XX.
    """
    parts = (run.criterion, run.granularity, f"{run.compression!r}x", str(run.seed))
    return "-".join(quote(part, safe="").replace("-", "%2D") for part in parts) + ".json"


def _write(path: Path, raw: dict[str, Any]) -> None:
    """The whole file or, whatever happens, the one that was there before."""
    whole = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with whole.open("w", encoding="utf-8") as file:
            json.dump(raw, file, indent=1, allow_nan=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(whole, path)
    except OSError as error:
        raise PruningError(f"The study's file {path} cannot be written: {error}.") from error


def _result(raw: dict[str, Any]) -> Result:
    """Raises ValueError, TypeError or KeyError for anything that is no sound result."""
    after = raw["after"] if raw["after"] is None else _accuracy(raw["after"])
    parts = {
        "run": Run(**raw["run"]),
        "initial": _accuracy(raw["initial"]),
        "before": _accuracy(raw["before"]),
        "after": after,
    }
    found = Result(**{**raw, **parts})
    numbers = [
        getattr(found, each.name) for each in fields(found) if each.name not in (*parts, "threads")
    ]
    if found.thinned_parameters is found.thinned_macs is None:
        numbers = [value for value in numbers if value is not None]
    if found.threads is not None:
        numbers.append(found.threads)
    if not all(type(value) in (int, float) and value >= 0 for value in numbers):
        raise ValueError("a number is missing")
    return found


def _accuracy(raw: dict[str, Any]) -> Accuracy:
    found = Accuracy(**raw)
    shares = (found.top1, found.low, found.high, found.top1 if found.top5 is None else found.top5)
    if type(found.n) is not int or not all(
        type(share) in (int, float) and 0 <= share <= 1 for share in shares
    ):
        raise ValueError("an accuracy is not sound")
    return found
