"""The time that it takes to run some nodes of a network, in multiply-adds."""

from dataclasses import dataclass
from math import ceil

BATCH_SIZE = 256
"""Images of one forward pass, as in the full scan."""
NODE_COST = 3e6
"""Multiply-adds that take as long as running a node without arithmetic: 60 microseconds, on a
processor that does 5e10 multiply-adds a second.
"""
TRACE_FACTOR = 5.0
"""Tracing a node takes as long as running it this many times."""


@dataclass(frozen=True)
class ForwardCost:
    """The cost of running some nodes of the network. macs: their multiply-adds per image."""

    macs: int
    nodes: int

    def work(self, images: int, traces: float = 0.0) -> float:
        """Time in multiply-adds. Each batch adds `NODE_COST` per node, and so does each trace."""
        passes = ceil(images / BATCH_SIZE) + traces
        return self.macs * images + NODE_COST * self.nodes * passes
