"""The data sets, each with fixed train, validation and test splits."""

from pathlib import Path

from pruning_core.registry import find
from pruning_core.types import Dataset
from pruning_core.zoo.fetch import Progress
from pruning_core.zoo.folders import FOLDERS
from pruning_core.zoo.request import Request, Source, data_root
from pruning_core.zoo.small import SMALL

DATASETS: dict[str, Source] = {entry.name: entry for entry in (*SMALL, *FOLDERS)}


def load_data(
    name: str,
    model: str | None = None,
    root: str | Path | None = None,
    download: bool = True,
    progress: Progress | None = None,
) -> Dataset:
    """The data set called `name`. model: whose input transform and classes big images take; root:
    as in `data_root`.

    Raises PruningError for an unknown name or damaged files, DataMissing for files that are not
    here and cannot be fetched.
    """
    return find(DATASETS, name, "data set").load(
        Request(data_root(root), model, download, progress)
    )
