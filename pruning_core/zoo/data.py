"""The data sets, each with fixed train, validation and test splits."""

from pruning_core.registry import find
from pruning_core.types import Dataset
from pruning_core.zoo.folders import FOLDERS
from pruning_core.zoo.request import Request, Source
from pruning_core.zoo.small import SMALL

DATASETS: dict[str, Source] = {entry.name: entry for entry in (*SMALL, *FOLDERS)}


def load_data(name: str, request: Request) -> Dataset:
    """The data set of this name.

    Raises PruningError for an unknown name or damaged files, DataMissing for files that are not
    there and are not or cannot be downloaded.
    """
    return find(DATASETS, name, "data set").load(request)
