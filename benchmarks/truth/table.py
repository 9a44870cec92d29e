"""A line of the table, and the overlap of two masks."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

TARGETS = (0.5, 0.9, 0.99)


@dataclass(frozen=True)
class Line:
    """One line of the table. why: what differs, and why."""

    method: str
    oracle: str
    difference: str
    overlaps: tuple[float, ...]
    why: str

    def __str__(self) -> str:
        overlaps = " | ".join(f"{value:.3f}" for value in self.overlaps)
        return f"| {self.method} | {self.oracle} | {self.difference} | {overlaps} | {self.why} |"


def overlap(ours: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """Kept by both / kept by one."""
    a = torch.cat([m.flatten().bool() for m in ours])
    b = torch.cat([m.flatten().bool() for m in other])
    return float((a & b).sum()) / max(1, int((a | b).sum()))
