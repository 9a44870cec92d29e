"""One layer's masks over time, a bit per weight: which weights were removed when, and returned."""

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
    """The masks of a layer, from before the first pruning (all kept) to the last; frames: bits."""

    layer: str
    shape: tuple[int, int, int, int]
    frames: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.frames)

    def mask(self, frame: int) -> Bool[Tensor, "o i h w"]:
        """The mask at that frame; frame 0 is before the first pruning. True = keep."""
        count = int(np.prod(self.shape))
        bits = np.unpackbits(np.frombuffer(self.frames[frame], dtype=np.uint8), count=count)
        return torch.from_numpy(bits.astype(bool)).view(self.shape)

    def kept(self) -> tuple[float, ...]:
        """The share of the weights that is kept, at every frame."""
        return tuple(float(self.mask(k).double().mean()) for k in range(len(self)))

    def removed_at(self, until: int | None = None) -> Int[Tensor, "o i h w"]:
        """The frame at which each weight was last removed, up to `until`; 0 where it is kept."""
        last = len(self) - 1 if until is None else until
        frames = torch.zeros(self.shape, dtype=torch.long)
        before = self.mask(0)
        for k in range(1, last + 1):
            now = self.mask(k)
            frames = torch.where(now, 0, torch.where(before, k, frames))
            before = now
        return frames

    def returns(self, until: int | None = None) -> Int[Tensor, "o i h w"]:
        """How many times each weight has returned, up to the frame `until`."""
        last = len(self) - 1 if until is None else until
        counts = torch.zeros(self.shape, dtype=torch.long)
        before = self.mask(0)
        for k in range(1, last + 1):
            now = self.mask(k)
            counts += now & ~before
            before = now
        return counts


def recorded(events: Iterable[object], layer: str, shape: tuple[int, int, int, int]) -> History:
    """The history of a layer from a flow's events; the layer is dense where no mask names it."""
    dense = torch.ones(shape, dtype=torch.bool)
    masks: list[Masks] = [event.masks for event in events if isinstance(event, Pruned)]
    frames = (packed(named.get(layer, dense)) for named in masks)
    return History(layer, shape, (packed(dense), *frames))
