"""Reads what the user gave into splits whose samples have a fixed order."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils import data as torch_data

from pruning_core.model.model_io import (
    input_tensors,
    joined_batches,
    map_tensors,
    sample_range,
    sample_shapes,
)
from pruning_core.subjects.batches import ReadBatch, refuse_pictures
from pruning_core.subjects.samples import (
    ItemSplit,
    Pair,
    Samples,
    read_pair,
    seeded,
)
from pruning_core.subjects.sources import (
    STREAM_LIMIT,
    Items,
    Source,
    Stream,
    Tensors,
    Transformed,
    normalisation,
    source_of,
)
from pruning_core.types import PruningError
from pruning_core.user_code import user_code

MEMORY = 1 << 30
"""Bytes of samples that are kept in memory for all splits together, if nothing else is said."""
SAMPLE_LIMIT = 100_000_000
"""Most samples of a split."""
CHUNK = 64
"""Samples that are read at once."""
CHECKED = 8
"""Samples of each split that are read three times, to see whether they change."""


@dataclass
class Reader:
    """Reads train, val and test, and collects a note for everything that the user may not expect.

    transform: of images; batch: a function of the user's from a batch to (inputs, target); samples:
    the largest number of samples of a split; memory: bytes that are left; dtype: of the model;
    unlabelled: the targets of batches without targets, as in `ReadBatch`;
    sources: split -> how it was read; seeded: the splits whose samples change at random;
    keyed: split whose batches are dicts -> key of their targets; bare: the splits whose batches
    have no targets;
    counts: split -> samples that were read.
    """

    transform: Callable[..., Any] | None = None
    batch: Callable[[Any], Any] | None = None
    samples: int | None = None
    memory: int = MEMORY
    dtype: torch.dtype | None = None
    unlabelled: str = ""
    notes: list[str] = field(default_factory=list)
    sources: dict[str, Source] = field(default_factory=dict)
    seeded: set[str] = field(default_factory=set)
    keyed: dict[str, str] = field(default_factory=dict)
    bare: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)

    def read(self, given: Any, name: str) -> Samples | ItemSplit:
        """The split in what the user gave as `name`. Raises PruningError, in one sentence."""
        source = source_of(given, name, self.transform)
        self.sources[name] = source
        if self.transform is not None and not self._transforms(given, source):
            self.notes.append(
                f"transform= is not used for {name}=: it is for folders of images, and for data "
                "sets of images whose own transform is None."
            )
        pair = ReadBatch(name, self.batch, self.dtype, self.unlabelled, self.keyed, self.bare)
        if isinstance(source, Tensors):
            split: Samples | ItemSplit = self._tensors(source, pair)
        elif isinstance(source, Stream):
            split = self._stream(source, pair)
        else:
            mean, std = normalisation(given, self.transform)
            split = _ItemReader(source, pair, name, self, mean, std).split()
        self.counts[name] = len(split)
        return split

    def _transforms(self, given: Any, source: Source) -> bool:
        """Does `transform` make the samples?"""
        if isinstance(source, Items) and isinstance(source.items, Transformed):
            return True
        return getattr(given, "transform", None) is self.transform

    def _tensors(self, source: Tensors, pair: ReadBatch) -> Samples:
        if source.target is None and not self.unlabelled:
            raise PruningError(f"{pair.given}= is one tensor: give a pair (inputs, targets).")
        both = source.x if source.target is None else (source.x, source.target)
        with user_code(f"Reading {pair.given}="):
            x, y = pair(both)
        if not len(y):
            raise PruningError(f"{pair.given}= has no samples.")
        chosen = self._spread(len(y), pair.given)
        whole = Samples(x, y, torch.arange(len(y)), pair.given)
        return whole if len(chosen) == len(y) else whole.subset(chosen)

    def _spread(self, n: int, name: str) -> Tensor:
        """The numbers 0 to n - 1, or `samples` of them at equal distances."""
        if min(n, self.samples or n) > SAMPLE_LIMIT:
            raise PruningError(
                f"{name}= has {n:,} samples: give samples=, a number up to {SAMPLE_LIMIT:,}."
            )
        if self.samples is None or self.samples >= n:
            return torch.arange(n)
        self.notes.append(f"{self.samples:,} of the {n:,} samples of {name}= are used.")
        return torch.linspace(0, n - 1, self.samples, dtype=torch.float64).round().long()

    def _stream(self, source: Stream, pair: ReadBatch) -> Samples:
        name = pair.given
        parts: list[Pair] = []
        count = 0
        for x, y in _stream_pairs(source, pair, self.samples):
            if parts and sample_shapes(x) != sample_shapes(parts[0][0]):
                first = sample_shapes(parts[0][0])[0]
                raise PruningError(
                    f"The samples of {name}= have different shapes, {first} and "
                    f"{sample_shapes(x)[0]}: give a data set that can be read by index, or equal "
                    "shapes."
                )
            count += len(y)
            self.memory -= _bytes((x, y))
            if self.memory < 0 or count > STREAM_LIMIT:
                raise PruningError(
                    f"{name}= has not ended after {count:,} samples: give samples=, the number of "
                    "samples to keep, or memory=, the bytes that they may take."
                )
            parts.append((x, y))
        if not parts:
            raise PruningError(f"{name}= has no samples.")
        if count == self.samples:
            self.notes.append(f"The first {count:,} samples of {name}= are used.")
        again = next(_stream_pairs(source, pair, len(parts[0][1])), None)
        if again is None or not _equal(parts[0], again):
            self.notes.append(
                f"{name}= gives other samples at every pass: those of the first pass are kept."
            )
        y = torch.cat([y for _, y in parts])
        return Samples(joined_batches([x for x, _ in parts]), y, torch.arange(len(y)), name)


def _stream_pairs(source: Stream, pair: ReadBatch, limit: int | None) -> Iterator[Pair]:
    """Pairs of a stream, at most `limit` samples."""
    with user_code(f"Reading {pair.given}="):
        items = iter(source.source)
        done = 0
        while limit is None or done < limit:
            size = 1 if source.batches else min(CHUNK, (limit or done + CHUNK) - done)
            raw = list(islice(items, size))
            if not raw:
                return
            refuse_pictures(raw[0], pair.given)
            x, y = pair(raw[0] if source.batches else source.collate(raw))
            if limit is not None and done + len(y) > limit:
                x = sample_range(x, 0, limit - done)
                y = y[: limit - done]
            done += len(y)
            yield x, y


@dataclass
class _ItemReader:
    """Reads one split of samples that can be read by position."""

    source: Items
    pair: ReadBatch
    name: str
    reader: Reader
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def split(self) -> Samples | ItemSplit:
        chosen = self.reader._spread(len(self.source.positions), self.name)
        positions = torch.tensor([self.source.positions[i] for i in chosen.tolist()])
        if self.source.note:
            self.reader.notes.append(self.source.note)
        self._refuse_pictures(int(positions[0]))
        probe = positions[
            torch.linspace(0, len(positions) - 1, min(CHECKED, len(positions))).long()
        ]
        first = self._pair(probe, 0)
        random = not _equal(first, self._pair(probe, 1))
        loose = random and not _equal(first, self._pair(probe, 0))
        fits = _bytes(first) / len(probe) * len(positions) <= self.reader.memory
        if loose and not fits:
            raise PruningError(
                f"{self.name}= gives other samples at every pass, and they do not fit in memory: "
                "seed its random numbers by torch.manual_seed, or give samples= or memory=."
            )
        if random:
            self.reader.seeded.add(self.name)
        self._note_random(random)
        if fits and not (random and not loose and self.name == "train"):
            return self._kept(positions, loose)
        labels = known_targets(self.source.items, positions)
        if labels is None or not torch.equal(labels[_places(positions, probe)], first[1]):
            labels = torch.cat([y for _, y in self._chunks(positions)])
        return self._lazy(positions, labels)

    def _refuse_pictures(self, position: int) -> None:
        with user_code(f"Reading sample {position} of {self.name}="), seeded(0):
            item = self.source.items[position]
        if self.source.collate is torch_data.default_collate:
            refuse_pictures(item, self.name)

    def _note_random(self, random: bool) -> None:
        if random and self.name == "train":
            self.reader.notes.append(
                "train= changes its samples at random: each epoch of training draws anew; "
                "elsewhere the same draw is used at every pass."
            )
        elif random:
            self.reader.notes.append(
                f"{self.name}= changes its samples at random: one draw is used at every pass."
            )

    def _pair(self, positions: Tensor, seed: int) -> Pair:
        chosen = positions.tolist()
        return read_pair(self.source.items, chosen, self.source.collate, self.pair, self.name, seed)

    def _chunks(self, positions: Tensor) -> Iterator[Pair]:
        for part in positions.split(CHUNK):
            yield self._pair(part, 0)

    def _lazy(self, positions: Tensor, labels: Tensor) -> ItemSplit:
        return ItemSplit(
            self.source.items,
            positions,
            labels,
            self.source.collate,
            self.pair,
            self.name,
            self.mean,
            self.std,
        )

    def _kept(self, positions: Tensor, loose: bool) -> Samples | ItemSplit:
        """All samples in memory; read when they are used where their shapes differ."""
        parts = list(self._chunks(positions))
        if len({tuple(y.shape[1:]) for _, y in parts}) != 1:
            raise PruningError(
                f"The targets of {self.name}= have different shapes: pad them to one length."
            )
        labels = torch.cat([y for _, y in parts])
        if len({sample_shapes(x) for x, _ in parts}) == 1:
            x = joined_batches([x for x, _ in parts])
            self.reader.memory -= _bytes((x, labels))
            return Samples(x, labels, positions, self.name, self.mean, self.std)
        if loose:
            raise PruningError(
                f"{self.name}= gives other samples at every pass, of different shapes: seed its "
                "random numbers by torch.manual_seed."
            )
        return self._lazy(positions, labels)


def _places(positions: Tensor, chosen: Tensor) -> Tensor:
    """Where the chosen positions are in the list of all."""
    index = {int(position): place for place, position in enumerate(positions)}
    return torch.tensor([index[int(position)] for position in chosen])


def known_targets(items: Any, positions: Tensor) -> Tensor | None:
    """The targets that a data set states without reading its samples; None where it does not."""
    if isinstance(items, torch_data.Subset):
        inner = torch.tensor([items.indices[position] for position in positions.tolist()])
        return known_targets(items.dataset, inner)
    if getattr(items, "target_transform", None) is not None:
        return None
    stated = getattr(items, "targets", getattr(items, "labels", None))
    if not isinstance(stated, Sequence | Tensor) or len(stated) != len(items):
        return None
    try:
        labels = torch.as_tensor(stated)
    except (TypeError, ValueError, RuntimeError):
        return None
    return labels[positions] if labels.ndim == 1 else None


def _bytes(pair: Pair) -> int:
    return sum(part.numel() * part.element_size() for part in (*input_tensors(pair[0]), pair[1]))


def _equal(one: Pair, other: Pair) -> bool:
    """Are both pairs the same, bit for bit? NaN equals NaN."""
    a = (*input_tensors(one[0]), one[1])
    b = (*input_tensors(other[0]), other[1])
    return len(a) == len(b) and all(
        x.shape == y.shape and x.dtype == y.dtype and bool(((x == y) | ((x != x) & (y != y))).all())
        for x, y in zip(a, b, strict=True)
    )


def with_dtype(x: Any, dtype: torch.dtype | None) -> Any:
    """Inputs whose numbers of floating point have this type."""
    if dtype is None:
        return x
    return map_tensors(x, lambda part: part.to(dtype) if part.is_floating_point() else part)
