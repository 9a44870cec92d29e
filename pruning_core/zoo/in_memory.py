"""Data sets of the package, for subject files: `data = "pruning_core.zoo.in_memory:digits"`."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor
from torch.utils import data as torch_data

from pruning_core.types import Inputs, PruningError, Split
from pruning_core.zoo.by_name import load_data
from pruning_core.zoo.data import DATASETS
from pruning_core.zoo.splits import TensorSplit


def tensors(name: str) -> dict[str, tuple[Inputs, Tensor]]:
    """Inputs and targets of train, val and test, as the networks of the package read them.

    Raises PruningError for images that are not in memory.
    """
    data = load_data(name)
    parts = {"train": data.train, "val": data.val, "test": data.test}
    if not all(isinstance(part, TensorSplit) for part in parts.values()):
        raise PruningError(f"The images of {name} are in files: name their folder as data.")
    return {part: next(iter(split.batches(len(split)))) for part, split in parts.items()}


class Images(torch_data.Dataset[tuple[Tensor, int]]):
    """The images of a split, read when they are used, with their class numbers."""

    def __init__(self, split: Split) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        x, labels = next(iter(self.split.subset([index]).batches(1)))
        assert isinstance(x, Tensor)
        return x[0], int(labels[0])


def splits(name: str, model: str) -> dict[str, Images]:
    """train, val and test of a data set whose images are in files, prepared as for that network.

    Raises PruningError as `load_data`.
    """
    data = load_data(name, model)
    return {"train": Images(data.train), "val": Images(data.val), "test": Images(data.test)}


def __getattr__(name: str) -> Callable[[], Any]:
    """The function without arguments that gives the data set of this name."""
    if name not in DATASETS:
        raise AttributeError(name)
    return partial(tensors, name)
