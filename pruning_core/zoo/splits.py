"""Labelled images in a fixed order, in memory (TensorSplit) or in files (FolderSplit)."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Shaped, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional

from pruning_core.evaluation.dense_answers import AnsweredSplit
from pruning_core.training.config import steps_per_epoch
from pruning_core.types import PruningError, Split
from pruning_core.zoo.image_files import printable
from pruning_core.zoo.read_image import read_image


def stratified(labels: Shaped[Tensor, "n ..."], seed: int = 0) -> Int[Tensor, " n"]:
    """All indices, in an order in which the first k images have the class shares of all images.

    This holds for every k, within one image per class. `seed` fixes the order. Targets that are not
    one class number per sample give a random order.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    if labels.ndim != 1 or labels.is_floating_point():
        return order
    shuffled = labels[order]
    by_class = shuffled.argsort(stable=True)
    _, counts = shuffled.unique(return_counts=True)
    first = (counts.cumsum(0) - counts).repeat_interleave(counts)
    rank = torch.arange(len(labels)) - first
    # The k-th of m images of a class has the relative position (k + 1/2) / m.
    position = torch.empty(len(labels), dtype=torch.float64)
    position[by_class] = (rank.double() + 0.5) / counts.repeat_interleave(counts)
    return order[position.argsort(stable=True)]


def shift_and_flip(
    x: Float[Tensor, "b c h w"], by: int, flip: bool, rng: torch.Generator
) -> Float[Tensor, "b c h w"]:
    """Images shifted at random by up to `by` pixels in both directions, with zeros at the edges.

    flip: also mirrors half of them, chosen at random.
    """
    b, _, h, w = x.shape
    padded = functional.pad(x, (by, by, by, by))
    offsets = torch.randint(0, 2 * by + 1, (2, b, 1), generator=rng)
    rows = offsets[0] + torch.arange(h)
    columns = offsets[1] + torch.arange(w)
    mirrored = (torch.rand(b, 1, generator=rng) < 0.5) & flip
    columns = torch.where(mirrored, columns.flip(1), columns)
    moved = padded[torch.arange(b)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def shuffled_indices(n: int, size: int, seed: int) -> Iterator[Tensor]:
    """Indices of one epoch: n // size full batches, or one batch of all images if n < size.

    `seed` fixes the order.
    """
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    for step in range(steps_per_epoch(n, size)):
        yield order[step * size : (step + 1) * size]


@dataclass(frozen=True, eq=False)
class TensorSplit:
    """Images in memory, as integers from 0 to `scale`.

    mean, std: per channel, of pixels in [0, 1]; shift: largest shift in pixels for augmentation;
    flip: augmentation mirrors images.
    """

    x: UInt8[Tensor, "n c h w"]
    labels: Int[Tensor, " n"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: int = 255
    shift: int = 0
    flip: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def _normalised(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        mean, std = (torch.tensor(value).view(1, -1, 1, 1) for value in (self.mean, self.std))
        return (images - mean) / std

    def images(self, indices: Sequence[int] | Tensor) -> Float[Tensor, "k c h w"]:
        """The images, with pixels in [0, 1]."""
        return self.x[torch.as_tensor(indices, dtype=torch.long)].float() / self.scale

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalised batches in order."""
        for start in range(0, len(self), size):
            images = self.x[start : start + size].float() / self.scale
            yield self._normalised(images), self.labels[start : start + size]

    def shuffled(
        self, size: int, seed: int, augment: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch of n // size full batches. `seed` fixes their order.

        augment: shifts and mirrors images, by the fields shift and flip.
        """
        rng = torch.Generator().manual_seed(seed + 1)
        for chosen in shuffled_indices(len(self), size, seed):
            images = self.images(chosen)
            if augment and (self.shift or self.flip):
                images = shift_and_flip(images, self.shift, self.flip, rng)
            yield self._normalised(images), self.labels[chosen]

    def subset(self, indices: Sequence[int] | Tensor) -> "TensorSplit":
        """The images at `indices`, in that order."""
        chosen = torch.as_tensor(indices, dtype=torch.long)
        return replace(self, x=self.x[chosen], labels=self.labels[chosen])


@dataclass(frozen=True, eq=False)
class FolderSplit:
    """Image files that are read when they are used.

    transform: PIL image -> normalised C x H x W tensor; mean, std: per channel, the values that it
    subtracts and divides by; mode: of the image that it gets, RGB or L (grey); root: the folder
    below which errors name a file.
    """

    paths: tuple[str, ...]
    labels: Int[Tensor, " n"]
    transform: Callable[[Image.Image], Tensor]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mode: str = "RGB"
    root: str = ""

    def __len__(self) -> int:
        return len(self.paths)

    def _stack(self, indices: Sequence[int]) -> Tensor:
        paths = (self.paths[int(index)] for index in indices)
        return torch.stack([self.transform(self._read(path)) for path in paths])

    def _read(self, path: str) -> Image.Image:
        shown = printable(os.path.relpath(path, self.root)) if self.root else ""
        return read_image(path, self.mode, shown)

    def images(self, indices: Sequence[int] | Tensor) -> Float[Tensor, "k c h w"]:
        """The images as the model gets them (resized and cropped), with pixels in [0, 1]."""
        mean, std = (torch.tensor(value).view(1, -1, 1, 1) for value in (self.mean, self.std))
        chosen = torch.as_tensor(indices, dtype=torch.long).tolist()
        return (self._stack(chosen) * std + mean).clamp(0, 1)

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalised batches in order."""
        for start in range(0, len(self), size):
            chosen = range(start, min(start + size, len(self)))
            yield self._stack(chosen), self.labels[start : start + size]

    def shuffled(
        self, size: int, seed: int, augment: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch of n // size full batches. `seed` fixes their order.

        augment: mirrors half of the images.
        """
        rng = torch.Generator().manual_seed(seed + 1)
        for chosen in shuffled_indices(len(self), size, seed):
            images = self._stack(chosen.tolist())
            yield (
                (shift_and_flip(images, 0, True, rng) if augment else images),
                self.labels[chosen],
            )

    def subset(self, indices: Sequence[int] | Tensor) -> "FolderSplit":
        """The images at `indices`, in that order."""
        chosen = torch.as_tensor(indices, dtype=torch.long)
        return replace(
            self, paths=tuple(self.paths[i] for i in chosen.tolist()), labels=self.labels[chosen]
        )

    def in_memory(self) -> TensorSplit:
        """The same images, read once and kept in memory.

        They are exact where the transform only resizes, crops and normalises.
        """
        x = torch.cat([(self.images([i]) * 255).round().to(torch.uint8) for i in range(len(self))])
        return TensorSplit(x, self.labels, self.mean, self.std, flip=True)


@runtime_checkable
class ReadOnUse(Protocol):
    """A split whose samples are read or computed when they are used."""

    def in_memory(self) -> Split: ...


def probe(split: Split, n: int, seed: int = 0) -> Split:
    """A fixed stratified sample of n images, in memory. A larger sample starts with a smaller one.

    Targets that are the dense network's answers are not computed for it; the sample is then random.
    Raises PruningError for n < 1.
    """
    if n < 1:
        raise PruningError(f"A probe needs at least one image, not {n}.")
    chosen = split.subset(sample_order(split, seed)[:n].tolist())
    return chosen.in_memory() if isinstance(chosen, ReadOnUse) else chosen


def sample_order(split: Split, seed: int = 0) -> Int[Tensor, " n"]:
    """The order in which samples are drawn from a split: `stratified` by targets that are known."""
    known = torch.empty(len(split)) if isinstance(split, AnsweredSplit) else split.labels
    return stratified(known, seed)
