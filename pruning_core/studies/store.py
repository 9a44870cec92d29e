"""Saves studies on disk: a folder per study, a file per finished run, each written atomically."""

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch

from pruning_core.evaluation.dense_answers import AnsweredSplit
from pruning_core.model.model_io import input_tensors, raw_bytes, tensors_of
from pruning_core.penalties import NONE
from pruning_core.studies.run import Measurement, Result
from pruning_core.studies.study import VERSION, Run, Study
from pruning_core.tasks.classification import CLASSIFICATION
from pruning_core.tasks.task import Task
from pruning_core.types import PruningError, Split
from pruning_core.whole_files import write_file
from pruning_core.workspaces import Workspace
from pruning_core.zoo import results_root

STUDY_FILE = "study.json"
METHOD_VERSION = 2
"""Version of how a run is measured. Raise it when runs give other numbers than before: results
that were saved under another version are then not loaded.
"""
STATES = ("initial", "before", "after")
SAMPLES = 16
"""Images of each split that the fingerprint reads."""
NUMBERS = (
    "epochs",
    "images",
    "parameters",
    "nonzeros",
    "macs",
    "macs_effective",
    "seconds",
)
"""Fields of a result that are always numbers of at least 0."""
LATER = ("threads", "dense_bytes", "stored_bytes", "measured_speedup")
"""Numbers that a result may have."""
OLD_NAMES = {"thinned_parameters": "thinned_nonzeros"}
"""Name in older files -> name now."""
UNREADABLE = (OSError, ValueError, TypeError, KeyError, RecursionError)
"""Errors that reading a missing or damaged file raises."""


def studies_root() -> Path:
    """The folder of all studies: `studies` beside the data."""
    return results_root() / "studies"


def fingerprint(space: Workspace) -> str:
    """SHA-256 of everything that a study starts from, as hexadecimal text.

    It covers the dense network's weights, the labels of all splits, `SAMPLES` images of each
    split, and `METHOD_VERSION`.
    """
    digest = hashlib.sha256(f"study {VERSION} measured {METHOD_VERSION}".encode())
    if space.dataset.outputs is not None:
        # Losses read these logits only. Without them the digest stays as older versions made it.
        digest.update(f"logits {space.dataset.outputs}".encode())
    if space.dataset.task.name != CLASSIFICATION.name:
        digest.update(f"task {space.dataset.task.name}".encode())
    for name, tensor in tensors_of(space.model).items():
        digest.update(name.encode())
        digest.update(raw_bytes(tensor))
    for split in (space.dataset.train, space.dataset.val, space.dataset.test):
        if not isinstance(split, AnsweredSplit):  # the network's own answers add nothing
            digest.update(raw_bytes(split.labels))
        for x, _ in _sample(split).batches(SAMPLES):
            for tensor in input_tensors(x):
                digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
                digest.update(raw_bytes(tensor))
    return digest.hexdigest()


def _sample(split: Split) -> Split:
    """`SAMPLES` inputs from the first to the last, at equal distances."""
    return split.subset(torch.linspace(0, len(split) - 1, min(len(split), SAMPLES)).long().tolist())


def study_folder(study: Study, base: str, root: Path | None = None) -> Path:
    """The study's folder. Its name is a hash of the study's JSON and of the fingerprint `base`."""
    raw = json.loads(study.to_json())
    tune = raw["plan"]["fine_tune"]
    if tune["penalty"] == NONE:
        # Penalties are newer than studies. Without one, a study keeps its older folder name.
        del tune["penalty"], tune["penalty_strength"]
    if not raw["time"]:
        del raw["time"]  # as for penalties
    name = hashlib.sha256(f"{base}\n{json.dumps(raw, indent=2)}".encode()).hexdigest()[:16]
    return (root or studies_root()) / name


def create_study_folder(study: Study, base: str, folder: Path) -> None:
    """Makes the folder and writes the study into it. Raises PruningError where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PruningError(f"The folder {folder} of the study cannot be made: {error}.") from error
    _write(folder / STUDY_FILE, {"base": base, "study": json.loads(study.to_json())})


def save_result(result: Result, folder: Path) -> None:
    """Writes the result of a finished run. Raises PruningError where the file cannot be written."""
    parts = {name: _raw(getattr(result, name)) for name in STATES}
    numbers = {f.name: getattr(result, f.name) for f in fields(result) if f.name not in STATES}
    raw = {f.name: (numbers | parts)[f.name] for f in fields(result)}
    _write(folder / file_name(result.run), raw | {"run": asdict(result.run)})


def _raw(measurement: Measurement | None) -> dict[str, Any] | None:
    """A measurement as JSON values; of classification with the names that older files have."""
    if measurement is None:
        return None
    raw = {f.name: getattr(measurement, f.name) for f in fields(measurement)}
    name = raw.pop("task").name
    if name == CLASSIFICATION.name:
        return {"top1" if key == "value" else key: value for key, value in raw.items()}
    finite = {key: value for key, value in raw.items() if key != "top5" and abs(value) < math.inf}
    return {**finite, "task": name}


def load_result(run: Run, folder: Path, task: Task = CLASSIFICATION) -> Result | None:
    """The saved result of a run; None where its file is missing or damaged, or of another task."""
    try:
        result = _result(json.loads((folder / file_name(run)).read_text(encoding="utf-8")), task)
    except UNREADABLE:
        return None
    return result if result.run == run else None


def load_results(study: Study, folder: Path, task: Task = CLASSIFICATION) -> tuple[Result, ...]:
    """The saved results of the study's runs, in the study's order. task: of the study's data."""
    results = (load_result(run, folder, task) for run in study.runs)
    return tuple(result for result in results if result is not None)


def count_saved_runs(folder: Path) -> int:
    """Number of result files in the folder. The files are not read."""
    return sum(path.name != STUDY_FILE for path in folder.glob("*.json"))


def saved_studies(base: str, root: Path | None = None) -> tuple[Study, ...]:
    """The studies on disk with the fingerprint `base`, the last one started or continued first."""
    dated = []
    for path in (root or studies_root()).glob(f"*/{STUDY_FILE}"):
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            time = path.stat().st_mtime
            if raw["base"] == base:
                dated.append((time, path.parent.name, Study.from_json(json.dumps(raw["study"]))))
        except UNREADABLE:
            continue
    dated.sort(key=lambda entry: entry[:2], reverse=True)
    return tuple(study for *_, study in dated)


def file_name(run: Run) -> str:
    """The name of a run's file; every run has a different one.

    Characters that a file name may not hold, and hyphens inside a part, are written as %XX.
    """
    parts = (run.criterion, run.granularity, f"{run.compression!r}x", str(run.seed))
    return "-".join(quote(part, safe="").replace("-", "%2D") for part in parts) + ".json"


def _write(path: Path, raw: dict[str, Any]) -> None:
    write_file(path, json.dumps(raw, indent=1, allow_nan=False))


def _result(raw: Any, task: Task) -> Result:
    """The result in a file. Raises ValueError, TypeError or KeyError where it is not valid."""
    raw = {OLD_NAMES.get(name, name): value for name, value in dict(raw).items()}
    _check_numbers(raw[name] for name in NUMBERS)
    optional = (raw["thinned_nonzeros"], raw["thinned_macs"])
    if optional != (None, None):
        _check_numbers(optional)
    later = (raw.get(name) for name in LATER)
    _check_numbers([value for value in later if value is not None])
    parts = {
        "run": Run(**raw["run"]),
        "initial": _measurement(raw["initial"], task),
        "before": _measurement(raw["before"], task),
        "after": None if raw["after"] is None else _measurement(raw["after"], task),
    }
    return Result(**{**raw, **parts})


def _measurement(raw: Any, task: Task) -> Measurement:
    """The value in a file. Raises ValueError, TypeError or KeyError where it is not valid."""
    if type(raw["n"]) is not int:
        raise ValueError("the number of images is not a whole number")
    if raw.get("task", CLASSIFICATION.name) != task.name:
        raise ValueError("the run is of another task")
    if "task" not in raw:
        fractions = [raw["top1"], raw["low"], raw["high"]]
        if raw["top5"] is not None:
            fractions.append(raw["top5"])
        _check_numbers(fractions, most=1.0)
        named = {"value" if key == "top1" else key: value for key, value in raw.items()}
        return Measurement(**named, task=task)
    low = raw.get("low", -math.inf)
    high = raw.get("high", math.inf)
    if any(type(number) not in (int, float) for number in (raw["value"], low, high)):
        raise ValueError("the value is not a number")
    return Measurement(raw["n"], raw["value"], low, high, task=task)


def _check_numbers(values: Iterable[Any], most: float = math.inf) -> None:
    """Raises ValueError unless every value is a number from 0 to `most`."""
    for value in values:
        if type(value) not in (int, float) or not (0 <= value <= most and value < math.inf):
            raise ValueError(f"{value!r} is not a finite number from 0 to {most:g}")
