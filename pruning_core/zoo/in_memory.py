"""Data sets as tensors, for subject files: `data = "pruning_core.zoo.in_memory:digits"`."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from pruning_core.types import Inputs, PruningError
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


def __getattr__(name: str) -> Callable[[], Any]:
    """The function without arguments that gives the data set of this name."""
    if name not in DATASETS:
        raise AttributeError(name)
    return partial(tensors, name)
