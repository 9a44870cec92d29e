"""Measures the points of a preview on parts of the images."""

from collections.abc import Collection, Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch.fx.node import Node

from pruning_core.evaluation.accuracy import summarise
from pruning_core.evaluation.partial_forward import PartialForward
from pruning_core.evaluation.sampling import similarity_order, systematic_parts
from pruning_core.sensitivity.forward_cost import BATCH_SIZE, ForwardCost
from pruning_core.sensitivity.preview_curves import DenseNetwork, PreviewCurve, PreviewPoint
from pruning_core.sensitivity.prune_units import PruneUnit, UnitPruner
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
        outputs: tuple[int, ...] | None,
        device: torch.device | None,
        seed: int,
    ) -> None:
        self._pruner = pruner
        self._device = device
        self._columns = slice(None) if outputs is None else list(outputs)
        partial_forward = PartialForward(pruner.model, split, device=device, batch_size=BATCH_SIZE)
        ((_, _, logits),) = partial_forward.logits_at([()], lambda _: [{}])
        logits = logits[:, self._columns]
        order = similarity_order(logits, split.labels)
        self._split = split.subset(order)
        self._dense_right = logits.argmax(1)[order] == split.labels[order]
        self.parts = systematic_parts(len(split), PARTS, seed)
        top1 = summarise(logits, split.labels).top1
        self.dense = DenseNetwork(top1, len(split), pruner.g.name, partial_forward.reason)
        self._forward = partial_forward.forward
        self._macs = self._macs_by_node()
        self.network = self._cost(self._forward.program.nodes)

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
        n = self.dense.n
        points = {
            count: PreviewPoint(downstream, np.zeros(n, np.int8), np.zeros(n, bool))
            for count in removed
            if count
        }
        if not downstream.nodes:
            for point in points.values():
                point.set_unchanged()
        return PreviewCurve(unit, counts, removed, points)

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
        dense = self._dense_right[images].int()
        partial_forward = PartialForward(
            self._pruner.model,
            split,
            device=self._device,
            batch_size=BATCH_SIZE,
            known=self._forward,
        )
        points = (point for curve in curves for point in curve.points.values() if point in wanted)
        logits = self._pruner.logits(counts, partial_forward)
        for point, (values, _) in zip(points, logits, strict=True):
            right = (values[:, self._columns].argmax(1) == split.labels).int()
            point.add(images, (right - dense).numpy())
        self._forward = partial_forward.forward
