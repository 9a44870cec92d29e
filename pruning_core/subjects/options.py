"""The options of `workspace`, and the check of their values."""

import operator
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict

from torch import Tensor

from pruning_core.registry import find
from pruning_core.tasks import Task
from pruning_core.types import Inputs, PruningError


class Options(TypedDict, total=False):
    """What `workspace` accepts besides the network and its data.

    task: a name of `pruning_core.tasks.TASKS`, package.module:object, a `Task`, or a function that
    gives the value of each sample (`tasks.custom`); without it
    classification;
    classes: their names or number; outputs: the network's outputs that stand for the classes, in
    order, where it has more; example: a batch of inputs, by default the first of train;
    transform: of images, PIL image -> tensor; batch: a function from a batch to (inputs, target),
    for batches that are neither pairs nor dicts with "labels";
    embeddings: offer the weights of nn.Embedding for pruning too;
    samples: the largest number of samples of a split; memory: bytes that may be kept in memory;
    name, data: what reports and plans call the network and its data.
    """

    task: str | Task | Callable[[Tensor, Tensor], Tensor]
    classes: Sequence[str] | int | None
    outputs: Sequence[int] | None
    example: Inputs | None
    transform: Callable[..., Any] | None
    batch: Callable[[Any], Any] | None
    embeddings: bool
    samples: int | None
    memory: int
    name: str
    data: str


ARGUMENTS = dict.fromkeys(("model", "train", "val", "test", *Options.__annotations__))
"""Names of all arguments of `workspace`."""


def check_options(options: Mapping[str, Any]) -> None:
    """Raises PruningError for an unknown option and for a value that it cannot have."""
    for key, value in options.items():
        find(ARGUMENTS, key, "argument of workspace called")
        fits, words = CHECKS.get(key, (None, ""))
        if fits is not None and value is not None and not fits(value):
            shown = " ".join(reprlib.repr(value).split())
            raise PruningError(f"{key}= is {shown}: give {words}.")


def _is_count(value: Any) -> bool:
    return _is_index(value) and not isinstance(value, bool) and bool(value >= 1)


def _is_index(value: Any) -> bool:
    try:
        operator.index(value)
    except TypeError:
        return False
    return True


def _are_classes(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(name, str) for name in value)
    return _is_count(value)


def _are_outputs(value: Any) -> bool:
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        return False
    numbers = list(value)
    return bool(numbers) and all(map(_is_index, numbers))


CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "classes": (_are_classes, "the number of classes, or a list of their names"),
    "outputs": (_are_outputs, "a list with the number of the output of each class"),
    "transform": (callable, "a function from a PIL image to a tensor"),
    "batch": (callable, "a function from a batch to (inputs, target)"),
    "embeddings": (lambda value: isinstance(value, bool), "True or False"),
    "samples": (_is_count, "a whole number of samples, 1 or more"),
    "memory": (_is_count, "a whole number of bytes, 1 or more"),
    "name": (lambda value: isinstance(value, str), "a text"),
    "data": (lambda value: isinstance(value, str), "a text"),
}
"""Option -> does a value fit, and the words for what fits. None always means: not given."""
