"""Splits whose targets are the dense network's own answers: no labels are needed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from pruning_core.evaluation.accuracy import Judge
from pruning_core.model.device import choose_device, on_device
from pruning_core.model.model_io import call, to_device
from pruning_core.types import Dataset, Inputs, Split


@dataclass(frozen=True, eq=False)
class AnsweredSplit:
    """A split with the answers of a network in place of its targets.

    Batches for training are answered after augmentation. Answers are computed when they are read.
    """

    split: Split
    model: nn.Module
    judge: Judge

    def __len__(self) -> int:
        return len(self.split)

    @cached_property
    def labels(self) -> Shaped[Tensor, "n ..."]:
        """The answers to all samples."""
        return torch.cat([y for _, y in self.batches(self.judge.task.batch_size)])

    def batches(self, size: int) -> Iterator[tuple[Inputs, Tensor]]:
        """Batches in order."""
        for x, _ in self.split.batches(size):
            yield x, self._answers(x)

    def shuffled(
        self, size: int, seed: int, augment: bool = False
    ) -> Iterator[tuple[Inputs, Tensor]]:
        """One epoch of training batches."""
        for x, _ in self.split.shuffled(size, seed, augment):
            yield x, self._answers(x)

    def subset(self, indices: Sequence[int]) -> "AnsweredSplit":
        """The samples at these indices, in their order."""
        return replace(self, split=self.split.subset(indices))

    def images(self, indices: Sequence[int]) -> Float[Tensor, "k c h w"]:
        """The images, in [0, 1], for display."""
        return self.split.images(indices)

    def in_memory(self) -> "AnsweredSplit":
        """The same samples, read once and kept in memory, where they are files."""
        read = getattr(self.split, "in_memory", None)
        return self if read is None else replace(self, split=read())

    @cached_property
    def _placed(self) -> nn.Module:
        return on_device(self.model, choose_device(None))

    @torch.no_grad()
    def _answers(self, x: Inputs) -> Tensor:
        out = call(self._placed, to_device(x, choose_device(None)))
        return self.judge.task.answers(self.judge.judged(out)).cpu()


def with_dense_answers(dataset: Dataset, model: nn.Module) -> Dataset:
    """The data set with the model's answers as targets, where its task reads those.

    model: the dense network, in eval mode. A data set of another task, or one that has answers
    already, is returned as it is.
    """
    if not dataset.task.dense_answers or isinstance(dataset.val, AnsweredSplit):
        return dataset
    judge = Judge.of(dataset)
    train, val, test = (
        AnsweredSplit(split, model, judge) for split in (dataset.train, dataset.val, dataset.test)
    )
    return replace(dataset, train=train, val=val, test=test)
