"""Labelled inputs by name, such as token numbers and masks, in memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pruning_core.types import PruningError
from pruning_core.zoo.splits import shuffled_indices


@dataclass(frozen=True, eq=False)
class TokenSplit:
    """Inputs of a model by name; the first axis of every tensor counts the samples."""

    x: Mapping[str, Tensor]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def _chosen(self, chosen: slice | Tensor) -> tuple[dict[str, Tensor], Tensor]:
        return {name: tensor[chosen] for name, tensor in self.x.items()}, self.labels[chosen]

    def batches(self, size: int) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        """Batches in order."""
        for start in range(0, len(self), size):
            yield self._chosen(slice(start, start + size))

    def shuffled(
        self, size: int, seed: int, augment: bool = False
    ) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        """One epoch of n // size full batches. `seed` fixes their order; nothing is augmented."""
        for chosen in shuffled_indices(len(self), size, seed):
            yield self._chosen(chosen)

    def subset(self, indices: Sequence[int] | Tensor) -> "TokenSplit":
        """The samples at `indices`, in that order."""
        return TokenSplit(*self._chosen(torch.as_tensor(indices, dtype=torch.long)))

    def images(self, indices: Sequence[int] | Tensor) -> Float[Tensor, "k c h w"]:
        """Raises PruningError: the samples are not images."""
        raise PruningError("These samples are tokens, which cannot be shown as images.")
