"""Measures the points of a preview on parts of the images."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch.fx.node import Node

from pruning_core.evaluation.accuracy import Judge
from pruning_core.evaluation.partial_forward import PartialForward
from pruning_core.evaluation.sampling import similarity_order, systematic_parts
from pruning_core.sensitivity.forward_cost import BATCH_SIZE, ForwardCost
from pruning_core.sensitivity.preview_curves import DenseNetwork, PreviewCurve, PreviewPoint
from pruning_core.sensitivity.prune_units import PruneUnit, UnitPruner
from pruning_core.tasks.task import Parts, joined
from pruning_core.types import Split

PARTS = 10
"""Parts of the images. Each round measures on one part, which no earlier round used."""


class PreviewMeasurer:
    """Holds the images, ordered so that neighbours are similar, and the dense network's answers.

    parts: indices of the images of each part. network: cost of all nodes.
    """

    def __init__(
        self,
        pruner: UnitPruner,
        split: Split,
        judge: Judge,
        device: torch.device | None,
        seed: int,
    ) -> None:
        self._pruner = pruner
        self._judge = judge
        self._device = device
        self._batch_size = min(BATCH_SIZE, judge.task.batch_size)
        partial_forward = PartialForward(
            pruner.model, split, device=device, batch_size=self._batch_size, judge=judge
        )
        self._forward = partial_forward.forward
        self._split = split
        self.dense = self._measure_dense(partial_forward)
        n = self.dense.n
        # One image shows no spread: only where each is right or wrong can a part be a single one.
        most = n if judge.task.binary else max(1, n // 2)
        self.parts = systematic_parts(n, min(PARTS, most), seed)
        self._macs = self._macs_by_node()
        self.network = self._cost(self._forward.program.nodes)

    def _measure_dense(self, partial_forward: PartialForward) -> DenseNetwork:
        """Measures the dense network, then orders the images so that neighbours are similar.

        Images that the task does not count are left out.
        """
        judge = replace(self._judge, read=True)

        def read(batch: int, out: Any) -> tuple[Parts, Parts]:
            targets = self._forward.targets(batch)
            return judge.parts(out, targets), judge.similarity(out, targets)

        ((_, _, batches),) = partial_forward.read_at([()], lambda _: [{}], read)
        parts = joined([own for own, _ in batches])
        counted = judge.statistics([own for own, _ in batches])
        order = [
            at
            for at in similarity_order(joined([keys for _, keys in batches]))
            if counted["count"][at]
        ]
        self._split = self._split.subset(order)
        return DenseNetwork(
            judge.task,
            judge.task.summarise(parts).value,
            {name: part[order] for name, part in counted.items()},
            self._pruner.g.name,
            partial_forward.reason,
        )

    def _macs_by_node(self) -> dict[Node, int]:
        """Multiply-adds per image of every node: those of the prunable weights that it reads."""
        program = self._forward.program
        macs = {id(program.tensor(layer.name)): layer.macs for layer in self._pruner.layers}
        return {
            node: sum(macs.get(read, 0) for read in program.reads(node)) for node in program.nodes
        }

    def _cost(self, nodes: Collection[Node]) -> ForwardCost:
        return ForwardCost(sum(self._macs[node] for node in nodes), len(nodes))

    def curve(self, unit: PruneUnit, counts: list[tuple[float, int]]) -> PreviewCurve:
        """The unit's curve, without measurements."""
        removed = {count: self._pruner.removed(unit, count) for _, count in counts}
        downstream = self.network
        if any(removed):
            masks = self._pruner.masks(unit, max(removed))
            downstream = self._cost(self._forward.program.downstream(masks))
        points = {count: PreviewPoint(downstream, self.dense) for count in removed if count}
        if not downstream.nodes:
            for point in points.values():
                point.set_unchanged()
        return PreviewCurve(unit, counts, removed, points, self.dense.scale)

    def measure(
        self,
        curves: Sequence[PreviewCurve],
        wanted: Collection[PreviewPoint],
        images: Int[np.ndarray, " m"],
    ) -> None:
        """Measures the wanted points on those images, in one pass through the network."""
        counts = [
            (curve.unit, [count for count, point in curve.points.items() if point in wanted])
            for curve in curves
        ]
        split = self._split.subset(images.tolist())
        partial_forward = PartialForward(
            self._pruner.model,
            split,
            device=self._device,
            batch_size=self._batch_size,
            known=self._forward,
        )
        points = (point for curve in curves for point in curve.points.values() if point in wanted)
        measurements = self._pruner.measured(counts, partial_forward, self._judge)
        for point, (batches, _) in zip(points, measurements, strict=True):
            point.add(images, self._judge.statistics(batches))
        self._forward = partial_forward.forward
