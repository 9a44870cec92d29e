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
    """The data set of this name.

    model: its input transform and classes are used for photographs; root: folder of data sets, as
    in `data_root`; download: download files that are not there; progress: called while a file is
    downloaded. Raises PruningError for an unknown name or damaged files, DataMissing for files
    that are not there and are not or cannot be downloaded.
    """
    return find(DATASETS, name, "data set").load(
        Request(data_root(root), model, download, progress)
    )
