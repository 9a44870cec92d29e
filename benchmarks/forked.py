"""Commands on tiny networks, each in a process of its own, and whether the files they leave are
whole. For `kills` and `full_disk`. Works where Python can fork.
"""

import ast
import csv
import json
import os
import pickle
import sqlite3
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from pruning_core.cli.main import main
from pruning_core.history import History
from pruning_core.history.database import NAME
from pruning_core.plan import Plan
from pruning_core.studies import Study
from pruning_core.training.config import TrainConfig

PLAN = Plan(model="lenet5", sparsity=0.8, fine_tune=TrainConfig(epochs=3, batch_size=128))
APPENDED = (".jsonl", ".lock")
"""Files that are appended to, and lock files: no reader expects them whole."""


@dataclass(frozen=True)
class Ended:
    """What became of a process. status: its exit status, negative where a signal ended it."""

    status: int
    output: str
    seconds: float


def commands(inputs: Path, out: Path) -> dict[str, list[str]]:
    """Name -> arguments of every command that writes files under `out`. inputs: of `prepare`."""
    plan = str(inputs / "plan.json")
    filters = str(inputs / "filters.json")
    device = ["--device", "cpu"]
    grid = ["--grid", "0,0.5,0.9"]
    study = [str(inputs / "study.json"), "--folder", str(out / "study")]
    search = ["--method", "random", "--evaluations", "20", "--out", str(out / "found")]
    curves = [str(inputs / "curves.csv"), "--target", "0.6", "--out", str(out / "ratios.json")]
    timed = ["--runtimes", "eager", "--batch", "1", "--seconds", "0.2", "--out", str(out / "time")]
    return {
        "run": ["run", plan, "--out", str(out / "run"), *device],
        "study": ["study", *study, "--out", str(out / "study.csv"), *device],
        "search": ["search", filters, *search],
        "scan": ["scan", plan, "--out", str(out / "curves.csv"), *grid, *device],
        "preview": ["preview", plan, "--out", str(out / "bands.csv"), *grid, *device],
        "ratios": ["ratios", plan, *curves],
        "farthest": ["farthest", plan, "--lose", "5", "--out", str(out / "farthest.json")],
        "thin": ["thin", filters, "--out", str(out / "thin")],
        "store": ["store", plan, "--out", str(out / "store" / "sparse.safetensors")],
        "time": ["time", filters, *timed, *device],
        "runs export": ["runs", "export", "--file", str(out / "runs.zip")],
        "runs export CSV": ["runs", "export", "--file", str(out / "runs.csv")],
    }


def prepare(inputs: Path, less: float = 0.0) -> None:
    """Writes the plans, the study and the curves that the commands read. less: of the sparsity.

    Imports what commands import late, so that each process has it.
    """
    for name in ("torch._dynamo", "onnxscript", "onnxruntime"):
        import_module(name)
    inputs.mkdir(parents=True, exist_ok=True)
    filters = replace(PLAN, granularity="filter", sparsity=0.5 - less)
    tuned = replace(PLAN, fine_tune=TrainConfig(epochs=1, batch_size=128))
    study = Study(tuned, compressions=(2.0, 8.0), seeds=1, images=256 if less else 250)
    (inputs / "plan.json").write_text(replace(PLAN, sparsity=0.8 - less).to_json())
    (inputs / "filters.json").write_text(filters.to_json())
    (inputs / "study.json").write_text(study.to_json())
    scan = [*commands(inputs, inputs)["scan"][:-1], "cpu"]
    if (ended := forked(lambda: main(scan))).status:
        raise RuntimeError(ended.output)


def forked(
    work: Callable[[], int],
    variables: Mapping[str, Path] | None = None,
    kill_after: float | None = None,
) -> Ended:
    """Does the work in another process, with these environment variables.

    kill_after: seconds after which it is killed by signal 9.
    """
    with tempfile.TemporaryFile() as output:
        begun = time.monotonic()
        process = get_context("fork").Process(
            target=_in_child, args=(work, variables or {}, output.fileno())
        )
        process.start()
        process.join(kill_after)
        if process.is_alive():
            process.kill()
        process.join()
        output.seek(0)
        words = output.read().decode(errors="replace")
    return Ended(process.exitcode or 0, words, time.monotonic() - begun)


def _in_child(work: Callable[[], int], variables: Mapping[str, Path], output: int) -> None:
    """Ends with the work's status, or with 1 and a traceback."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update({name: str(path) for name, path in variables.items()})
    sys.exit(work())


def files(folder: Path) -> dict[str, bytes]:
    """Path below the folder -> content, of all files; hidden ones are parts, and left out."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and path.suffix not in APPENDED
    }


def broken_files(folder: Path) -> list[str]:
    """The files in a folder that are not whole."""
    broken = []
    for name in files(folder):
        path = folder / name
        if path.parent.name == "locks":
            continue
        try:
            READERS.get(path.suffix, _not_empty)(path)
        except DAMAGED as error:
            broken.append(f"{name}: {error}")
    return broken


def _csv(path: Path) -> None:
    text = path.read_text()
    widths = {len(row) for row in csv.reader(text.splitlines())}
    if len(widths) != 1 or not text.endswith("\n"):
        raise ValueError("rows of several lengths, or no end of the line")


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        if archive.testzip() is not None:
            raise ValueError("a damaged entry")


def _not_empty(path: Path) -> None:
    if not path.stat().st_size:
        raise ValueError("empty")


DAMAGED = (
    *(OSError, ValueError, SyntaxError, EOFError, RuntimeError, KeyError),
    *(SafetensorError, zipfile.BadZipFile, pickle.UnpicklingError),
)
"""What `READERS` raise for a part of a file."""
READERS: dict[str, Callable[[Path], object]] = {
    ".json": lambda path: json.loads(path.read_text()),
    ".csv": _csv,
    ".zip": _zip,
    ".py": lambda path: ast.parse(path.read_text()),
    ".safetensors": load_file,
    ".npz": np.load,
    ".pt": lambda path: torch.load(path, weights_only=True),
    ".pt2": _zip,
}


def history_faults(folder: Path, kept: set[str]) -> list[str]:
    """What is wrong with a history. kept: ids of runs that must be in it."""
    history = History(folder)
    runs = {run.id: run for run in history.runs()}
    faults = [*history.reading_notes]
    faults += [f"the run {name} is lost" for name in sorted(kept - runs.keys())]
    for run in runs.values():
        for name in run.files:
            history.file(run, name)  # raises for a missing and for a damaged file
    connection = sqlite3.connect(folder / NAME)
    if (state := connection.execute("PRAGMA integrity_check").fetchone()) != ("ok",):
        faults.append(f"integrity check: {state}")
    connection.close()
    return faults
