"""Splits over data of the user: samples in memory, and samples that are read on use."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import RLock
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pruning_core.model.model_io import joined_batches, map_tensors, sample_shapes
from pruning_core.random_numbers import seed_torch
from pruning_core.types import Inputs, PruningError
from pruning_core.user_code import user_code
from pruning_core.zoo.splits import shuffled_indices

Pair = tuple[Inputs, Tensor]
"""The inputs of a batch and its targets."""
_READING = RLock()
"""Random numbers of a process have one state: only one thread reads with a seed at a time."""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random numbers of Python, NumPy and torch start from a seed inside the block.

    Afterwards they continue as if the block had not been there.
    """
    with _READING, torch.random.fork_rng([]):
        python_state = random.getstate()
        numpy_state = np.random.get_state()  # noqa: NPY002 - transforms of users draw from it
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        seed_torch(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002


def displayed(inputs: Inputs, mean: Sequence[float], std: Sequence[float]) -> Float[Tensor, "..."]:
    """Images with pixels in [0, 1], for display.

    mean, std: what the transform subtracts and divides by, per channel; empty where that is not
    known: then each image is scaled from its smallest to its largest value, unless it is in [0, 1].
    Raises PruningError where the inputs are no images.
    """
    if not isinstance(inputs, Tensor) or inputs.ndim != 4 or inputs.shape[1] not in (1, 3):
        raise PruningError("The samples of this data are no images with 1 or 3 channels.")
    images = inputs.float()
    if len(mean) == images.shape[1]:
        shift, scale = (torch.tensor(part).view(1, -1, 1, 1) for part in (mean, std))
        return (images * scale + shift).clamp(0, 1)
    low = images.amin((1, 2, 3), keepdim=True)
    high = images.amax((1, 2, 3), keepdim=True)
    inside = (low >= 0) & (high <= 1)
    return torch.where(inside, images, (images - low) / (high - low).clamp_min(1e-12))


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples in memory.

    x: the inputs of all samples; labels: the targets; both have the samples along the first axis.
    positions: place of each sample in the data that the user gave as `given` (train, val, test).
    mean, std: of the input transform, empty where they are not known.
    """

    x: Inputs
    labels: Tensor
    positions: Int[Tensor, " n"]
    given: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def _at(self, chosen: Tensor | slice) -> Pair:
        return map_tensors(self.x, lambda part: part[chosen]), self.labels[chosen]

    def batches(self, size: int) -> Iterator[Pair]:
        """Batches in order."""
        for start in range(0, len(self), size):
            yield self._at(slice(start, start + size))

    def shuffled(self, size: int, seed: int, augment: bool = False) -> Iterator[Pair]:
        """One epoch of n // size full batches. `seed` fixes their order. Nothing is augmented."""
        for chosen in shuffled_indices(len(self), size, seed):
            yield self._at(chosen)

    def subset(self, indices: Sequence[int] | Tensor) -> "Samples":
        """The samples at `indices`, in that order."""
        chosen = torch.as_tensor(indices, dtype=torch.long)
        x, labels = self._at(chosen)
        return replace(self, x=x, labels=labels, positions=self.positions[chosen])

    def images(self, indices: Sequence[int] | Tensor) -> Float[Tensor, "k c h w"]:
        """The images, with pixels in [0, 1]. Raises PruningError where there are none."""
        chosen = torch.as_tensor(indices, dtype=torch.long)
        return displayed(self._at(chosen)[0], self.mean, self.std)


@dataclass(frozen=True, eq=False)
class ItemSplit:
    """Samples that are read from the user's data set when they are used.

    items: gives a sample for a position; positions: the samples of this split, in order; collate:
    list of samples -> batch; pair: batch -> inputs and targets; labels: all targets.
    Random transforms draw from a seed per sample: the same in every pass, other ones in every
    epoch of training.
    """

    items: Any
    positions: Int[Tensor, " n"]
    labels: Tensor
    collate: Callable[[list[Any]], Any]
    pair: Callable[[Any], Pair]
    given: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.positions)

    def read(self, chosen: Tensor, seed: int = 0) -> Pair:
        """The batch of the samples at these places of the split."""
        positions = self.positions[chosen].tolist()
        return read_pair(self.items, positions, self.collate, self.pair, self.given, seed)

    def batches(self, size: int) -> Iterator[Pair]:
        """Batches in order."""
        for start in range(0, len(self), size):
            yield self.read(torch.arange(start, min(start + size, len(self))))

    def shuffled(self, size: int, seed: int, augment: bool = False) -> Iterator[Pair]:
        """One epoch of n // size full batches. `seed` fixes their order and random transforms."""
        for chosen in shuffled_indices(len(self), size, seed):
            yield self.read(chosen, seed + 1)

    def subset(self, indices: Sequence[int] | Tensor) -> "ItemSplit":
        """The samples at `indices`, in that order."""
        chosen = torch.as_tensor(indices, dtype=torch.long)
        return replace(self, positions=self.positions[chosen], labels=self.labels[chosen])

    def images(self, indices: Sequence[int] | Tensor) -> Float[Tensor, "k c h w"]:
        """The images, with pixels in [0, 1]. Raises PruningError where there are none."""
        chosen = torch.as_tensor(indices, dtype=torch.long)
        return displayed(self.read(chosen)[0], self.mean, self.std)

    def in_memory(self) -> "Samples | ItemSplit":
        """The same samples, read once; itself where their shapes differ."""
        parts = [self.read(torch.arange(len(self))[start : start + 64]) for start in self._starts()]
        if len({sample_shapes(x) for x, _ in parts}) != 1:
            return self
        return Samples(
            joined_batches([x for x, _ in parts]),
            torch.cat([y for _, y in parts]),
            self.positions,
            self.given,
            self.mean,
            self.std,
        )

    def _starts(self) -> range:
        return range(0, len(self), 64)


def read_pair(
    items: Any,
    positions: Sequence[int],
    collate: Callable[[list[Any]], Any],
    pair: Callable[[Any], Pair],
    given: str,
    seed: int = 0,
) -> Pair:
    """One batch from the user's data. Raises PruningError, with the samples, where that fails."""
    samples = f"samples {positions[0]} to {positions[-1]}" if positions else "samples"
    with user_code(f"Reading {samples} of {given}="):
        raw = []
        for position in positions:
            with seeded(seed * 1_000_003 + position):
                raw.append(items[position])
        with seeded(seed * 1_000_003 + (positions[0] if positions else 0)):
            return pair(collate(raw))
