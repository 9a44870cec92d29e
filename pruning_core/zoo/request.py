"""What the loaders of data sets share: request, registry entry, data folder, error."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pruning_core.types import DataMissing, Dataset
from pruning_core.zoo.fetch import Progress

VARIABLE = "PRUNING_EXPLORER_DATA"
"""Environment variable that names the data folder."""
RESULTS = "PRUNING_EXPLORER_RESULTS"
"""Environment variable that names the folder of studies, searches and unfinished jobs."""


@dataclass(frozen=True)
class Request:
    """What is asked of a data set.

    root: folder of all data sets; model: its input transform and classes are used for photographs;
    download: download files that are not there; progress: called while a file is downloaded.
    """

    root: Path
    model: str | None = None
    download: bool = True
    progress: Progress | None = None


@dataclass(frozen=True)
class Source:
    """A data set of the zoo.

    classes: their names, empty where the folders name them; shape: C x H x W, None where the model
    sets it; get: where its files come from; load: reads it; script: data folder -> lines of Python
    with a function `images()`, which gives the test images as numbers from 0 to their largest
    value, and their classes; None for files that a script names one by one.
    """

    name: str
    label: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int] | None
    help: str
    get: str
    load: Callable[[Request], Dataset]
    script: Callable[[Path], str] | None = None


def data_root(root: str | Path | None = None) -> Path:
    """The folder of data: the argument, else the one in PRUNING_EXPLORER_DATA, else
    pruning-explorer in the user's cache folder.
    """
    if root or (root := os.environ.get(VARIABLE)):
        return Path(root).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "pruning-explorer"


def results_root() -> Path:
    """The folder of studies, searches and unfinished jobs: as PRUNING_EXPLORER_RESULTS says, else
    `data_root`.
    """
    return data_root(os.environ.get(RESULTS))


def missing_files_error(
    label: str, request: Request, layout: str, error: Exception | None = None
) -> DataMissing:
    """The error for files that are not there. error: why their download failed."""
    return DataMissing(
        f"{label} is not in {request.root}, and the download failed ({error}). Put {layout} there, "
        f"or set {VARIABLE} to a folder that has it."
        if error
        else f"{label} is not in {request.root}. Put {layout} there, or set {VARIABLE} to a folder "
        "that has it."
    )
