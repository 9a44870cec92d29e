"""The budget of a preview: how many evaluations and how much work it may use."""

from collections.abc import Sequence
from math import inf

from pruning_core.sensitivity.forward_cost import TRACE_FACTOR, ForwardCost
from pruning_core.sensitivity.preview_curves import PreviewPoint

ROUNDS = 3
"""Rounds that share the budget."""
FREE_WORK = 2e10
"""Multiply-adds that a preview may always use: 0.4 seconds."""


class Budget:
    """Counts evaluations and work against a share of what the full scan needs.

    An evaluation is one image through the network for one point; the dense network counts too.
    network: cost of all nodes. n: number of images.
    """

    def __init__(
        self, network: ForwardCost, points: Sequence[PreviewPoint], n: int, share: float
    ) -> None:
        self._network = network
        self.full_evaluations = n * (1 + len(points))
        self.full_work = (
            network.work(n)
            + network.work(n, TRACE_FACTOR)
            + sum(point.downstream.work(n) for point in points)
        )
        self._most_evaluations = max(n, round(share * self.full_evaluations))
        self._most_work = max(share * self.full_work, FREE_WORK)
        self.evaluations = n
        self.work = network.work(n, TRACE_FACTOR)

    def take(
        self, points: Sequence[PreviewPoint], images: int, round_index: int
    ) -> list[PreviewPoint]:
        """The points that the budget allows on these images, in the order given; counts their cost.

        All points of a round are measured in one pass through the network. Round 0 is limited by
        its evaluations only. Every later round gets an equal part of what is left.
        """
        part = 1 / max(1, ROUNDS - round_index) if round_index else 1.0
        most = self.evaluations + part * (self._most_evaluations - self.evaluations)
        work_left = part * (self._most_work - self.work) if round_index else inf
        taken = list[PreviewPoint]()
        work = self._network.work(images)
        for point in points:
            more = point.downstream.work(images)
            if work + more <= work_left and self.evaluations + images <= most:
                taken.append(point)
                work += more
                self.evaluations += images
        if taken:
            self.work += work
        return taken
