"""One layer's masks over time, a bit per weight: which weights went when, and which came back."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from pruning_core.types import Masks, Pruned


def packed(mask: Bool[Tensor, "o i h w"]) -> bytes:
    """A mask as one bit per weight."""
    return np.packbits(mask.cpu().numpy()).tobytes()


@dataclass(frozen=True)
class History:
    """The masks of a layer, from before the first cut (all kept) to the last one told; frames:
    packed bits.
    """

    layer: str
    shape: tuple[int, int, int, int]
    frames: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.frames)

    def mask(self, frame: int) -> Bool[Tensor, "o i h w"]:
        """The mask at that frame; 0 is before the first cut. True = keep."""
        count = int(np.prod(self.shape))
        bits = np.unpackbits(np.frombuffer(self.frames[frame], dtype=np.uint8), count=count)
        return torch.from_numpy(bits.astype(bool)).view(self.shape)

    def kept(self) -> tuple[float, ...]:
        """The share of the weights that is kept, at every frame."""
        return tuple(float(self.mask(k).double().mean()) for k in range(len(self)))

    def died(self, until: int | None = None) -> Int[Tensor, "o i h w"]:
        """The frame at which each weight went for the last time up to `until`; 0 where it is there."""
        last = len(self) - 1 if until is None else until
        found = torch.zeros(self.shape, dtype=torch.long)
        before = self.mask(0)
        for k in range(1, last + 1):
            now = self.mask(k)
            found = torch.where(now, 0, torch.where(before, k, found))
            before = now
        return found

    def returns(self, until: int | None = None) -> Int[Tensor, "o i h w"]:
        """How many times each weight has come back up to the frame `until`."""
        last = len(self) - 1 if until is None else until
        found = torch.zeros(self.shape, dtype=torch.long)
        before = self.mask(0)
        for k in range(1, last + 1):
            now = self.mask(k)
            found += now & ~before
            before = now
        return found


def recorded(events: Iterable[object], layer: str, shape: tuple[int, int, int, int]) -> History:
    """The history of a layer from a flow's events; it stays dense where a mask does not name it."""
    dense = torch.ones(shape, dtype=torch.bool)
    masks: list[Masks] = [event.masks for event in events if isinstance(event, Pruned)]
    return History(
        layer, shape, (packed(dense), *(packed(found.get(layer, dense)) for found in masks))
    )
