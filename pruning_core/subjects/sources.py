"""What a user may give as train=, val= or test=, each turned into samples by position."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import data as torch_data

from pruning_core.errors import kind_text
from pruning_core.subjects.samples import seeded
from pruning_core.types import PruningError
from pruning_core.user_code import user_code

KINDS = "a DataLoader, a data set, a folder of images, or tensors (inputs, targets)"
STREAM_LIMIT = 1_000_000
"""Most samples of a stream without samples=."""


@dataclass(frozen=True)
class Items:
    """Samples that can be read in any order: items[position].

    positions: the samples that count, in order; collate: list of samples -> batch; note: what was
    not taken over, "" for nothing.
    """

    items: Any
    positions: Sequence[int]
    collate: Callable[[list[Any]], Any] = torch_data.default_collate
    note: str = ""


@dataclass(frozen=True)
class Stream:
    """Samples, or whole batches, that can be read in one order only.

    source: starts again with every `iter`; batches: each item is a batch already.
    """

    source: Iterable[Any]
    batches: bool
    collate: Callable[[list[Any]], Any] = torch_data.default_collate


@dataclass(frozen=True)
class Tensors:
    """All inputs and targets in memory. target: None where only inputs were given."""

    x: Any
    target: Any


Source = Items | Stream | Tensors


def source_of(given: Any, name: str, transform: Callable[..., Any] | None) -> Source:
    """The samples in what the user gave. name: train, val or test.

    transform: of images: PIL image -> tensor. Raises PruningError for what holds no samples.
    """
    if transform is not None and _lacks_transform(given):
        given = Transformed(given, transform)
    if isinstance(given, torch_data.DataLoader):
        return _of_loader(given, name, transform)
    if isinstance(given, torch_data.TensorDataset) and len(given.tensors) == 2:
        return Tensors(*given.tensors)
    if isinstance(given, Tensor | np.ndarray):
        return Tensors(given, None)
    if isinstance(given, tuple | list) and len(given) == 2 and isinstance(given[1], _ARRAYS):
        return Tensors(*given)
    if isinstance(given, torch_data.IterableDataset):
        return Stream(given, batches=False)
    if hasattr(given, "__getitem__") and hasattr(given, "__len__"):
        if isinstance(given, Mapping):
            raise PruningError(f"{name}= is a dict: give {KINDS}.")
        return Items(given, range(_length(given, name)))
    if isinstance(given, Iterator) or not isinstance(given, Iterable):
        kind = kind_text(type(given))
        raise PruningError(
            f"{name}= is {kind}, which can be read only once: give {KINDS}."
            if isinstance(given, Iterator)
            else f"{name}= is {kind}: give {KINDS}."
        )
    return Stream(given, batches=True)


_ARRAYS = Tensor | np.ndarray


@dataclass(frozen=True)
class Transformed:
    """A data set of images with an input transform."""

    dataset: Any
    transform: Callable[..., Any]

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        image, target = self.dataset[index]
        return self.transform(image), target


def _lacks_transform(given: Any) -> bool:
    return getattr(given, "transform", True) is None and hasattr(given, "__getitem__")


def _of_loader(
    loader: "torch_data.DataLoader[Any]", name: str, transform: Callable[..., Any] | None
) -> Source:
    dataset: Any = loader.dataset
    if transform is not None and _lacks_transform(dataset):
        dataset = Transformed(dataset, transform)
    stream = isinstance(dataset, torch_data.IterableDataset)
    if loader.batch_sampler is None:  # the data set gives batches
        positions = None if stream else _positions(loader, _length(dataset, name), name)[0]
        return Stream(_GivenBatches(dataset, positions, loader.collate_fn), batches=True)
    if stream:
        return Stream(dataset, batches=False, collate=loader.collate_fn)
    positions, note = _positions(loader, _length(dataset, name), name)
    if isinstance(dataset, torch_data.TensorDataset) and _plain(loader, dataset, positions):
        return Tensors(*dataset.tensors)
    return Items(dataset, positions, loader.collate_fn, note)


def _plain(
    loader: "torch_data.DataLoader[Any]",
    dataset: torch_data.TensorDataset,
    positions: Sequence[int],
) -> bool:
    """Does the loader give all pairs of two tensors as they are?"""
    return (
        len(dataset.tensors) == 2
        and loader.collate_fn is torch_data.default_collate
        and positions == range(len(dataset))
    )


@dataclass(frozen=True)
class _GivenBatches:
    """Batches of a data set, as a loader without batch size gives them, in the data set's order."""

    dataset: Any
    positions: Sequence[int] | None
    collate: Callable[[Any], Any]

    def __iter__(self) -> Iterator[Any]:
        items = self.dataset if self.positions is None else map(self._item, self.positions)
        return map(self.collate, items)

    def _item(self, position: int) -> Any:
        return self.dataset[position]


def _positions(
    loader: "torch_data.DataLoader[Any]", length: int, name: str
) -> tuple[Sequence[int], str]:
    """The samples that the loader reads, each once, and what is not taken over from its sampler."""
    if type(loader.batch_sampler) not in (torch_data.BatchSampler, type(None)):
        kind = type(loader.batch_sampler).__name__
        batches = _drawn(loader.batch_sampler, name)
        drawn = sorted({int(position) for batch in batches for position in batch})
        return drawn, _once(name, kind, len(drawn))
    sampler = loader.sampler
    if isinstance(sampler, torch_data.SequentialSampler):
        return range(length), ""
    if isinstance(sampler, torch_data.RandomSampler):
        every = not sampler.replacement and sampler.num_samples == length
        return range(length), "" if every else _once(name, "RandomSampler", length)
    if isinstance(sampler, torch_data.SubsetRandomSampler):
        return [int(position) for position in sampler.indices], ""
    kind = type(sampler).__name__
    if isinstance(sampler, torch_data.WeightedRandomSampler):
        return range(length), _once(name, kind, length)
    positions = sorted({int(position) for position in _drawn(sampler, name)})
    return positions, _once(name, kind, len(positions))


def _once(name: str, kind: str, count: int) -> str:
    return f"{name}= draws by its {kind}; here each of its {count:,} samples counts once."


def _drawn(sampler: Any, name: str) -> list[Any]:
    """One pass of a sampler. Its random numbers start from seed 0."""
    with user_code(f"Reading the sampler of {name}="), seeded(0):
        return list(sampler)


def _length(items: Any, name: str) -> int:
    with user_code(f"Counting the samples of {name}="):
        length = len(items)
    if not length:
        raise PruningError(f"{name}= has no samples.")
    return length


def class_names(given: Any) -> tuple[str, ...]:
    """The class names that a data set states (`classes`, as ImageFolder), () for none."""
    while given is not None:
        names = getattr(given, "classes", None)
        if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
            return tuple(names)
        given = getattr(given, "dataset", None)
    return ()


def normalisation(given: Any, transform: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of torchvision's Normalize in a data set's transform; () and ()
    where there is none. Only the display of images reads it.

    transform: the one that the user gave beside the data set.
    """
    steps = [transform]
    while given is not None:
        steps.append(getattr(given, "transform", None))
        given = getattr(given, "dataset", None)
    while steps:
        step = steps.pop()
        steps += list(getattr(step, "transforms", ()))
        mean = getattr(step, "mean", None)
        std = getattr(step, "std", None)
        if isinstance(mean, _NUMBERS) and isinstance(std, _NUMBERS):
            return tuple(_floats(mean)), tuple(_floats(std))
    return (), ()


_NUMBERS = (list, tuple, Tensor)


def _floats(values: Any) -> list[float]:
    return [float(value) for value in torch.as_tensor(values).flatten().tolist()]
