"""What the loaders of data sets share: the request, the registry's entry, the data folder, the
sentence for missing files.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pruning_core.types import DataMissing, Dataset
from pruning_core.zoo.fetch import Progress

VARIABLE = "PRUNING_EXPLORER_DATA"


@dataclass(frozen=True)
class Request:
    """What `load_data` was asked for. root: the folder of all data; model: whose transform and
    classes big images need.
    """

    root: Path
    model: str | None = None
    download: bool = True
    progress: Progress | None = None


@dataclass(frozen=True)
class Source:
    """A data set the zoo knows. classes: empty where the folder tells; get: how its files come to
    this machine.
    """

    name: str
    label: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int] | None
    help: str
    get: str
    load: Callable[[Request], Dataset]


def data_root(root: str | Path | None = None) -> Path:
    """The folder of data: the argument, else PRUNING_EXPLORER_DATA, else pruning-explorer in the
    user's cache folder.
    """
    if root or (root := os.environ.get(VARIABLE)):
        return Path(root).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "pruning-explorer"


def missing(
    what: str, request: Request, layout: str, error: Exception | None = None
) -> DataMissing:
    """The sentence for files that are not there and could not be had."""
    tried = f" and the download failed ({error})" if error else ""
    return DataMissing(
        f"{what} is not in {request.root}{tried}: put {layout} there, or set {VARIABLE} to a folder that holds it."
    )
