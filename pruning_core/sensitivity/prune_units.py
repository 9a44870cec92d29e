"""What a scan prunes at once: one layer, or layers whose channels are tied; and measures it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pruning_core.evaluation.accuracy import Judge
from pruning_core.evaluation.partial_forward import PartialForward, Zeroed
from pruning_core.granularity import Granularity, from_groups
from pruning_core.masks import achieved, apply_masks, intersect, lowest, n_removed
from pruning_core.model.coupling.dependent_masks import dependent_masks
from pruning_core.model.coupling.positions import Coupling
from pruning_core.model.inventory import stored
from pruning_core.repairs import BoundRepair
from pruning_core.tasks.task import Parts
from pruning_core.tied_layers import channel_scores, tied_parts
from pruning_core.types import GroupScores, Layer, Masks, PruningError

MeasuredAndRemoved = tuple[list[Parts], Mapping[str, float]]
"""What was measured on each batch, and the fraction of each layer's weights that was removed."""


@dataclass(frozen=True, eq=False)
class PruneUnit:
    """What is pruned at once: one layer, or the layers of one coupling.

    names: of the layers. scores: scope x group.
    reason: why the unit cannot be pruned; None where it can.
    """

    names: tuple[str, ...]
    scores: Float[Tensor, "s g"]
    coupling: Coupling | None = None
    reason: str | None = None

    @property
    def group(self) -> tuple[str, ...]:
        """The layers that are pruned together; () for a single layer."""
        return self.names if len(self.names) > 1 else ()

    def counts(self, g: Granularity, grid: Sequence[float]) -> list[tuple[float, int]]:
        """(sparsity, number of groups removed from every scope), rising from sparsity 0.

        N:M granularities have one fixed sparsity in place of the grid.
        """
        sparsities = sorted({0.0, *((g.fixed_ratio,) if g.fixed_ratio is not None else grid)})
        groups = self.scores.shape[1]
        return [(s, 0 if self.reason else n_removed(g, s, groups)) for s in sparsities]


def prune_units(
    layers: tuple[Layer, ...],
    groups: GroupScores,
    g: Granularity,
    couplings: Sequence[Coupling] = (),
    *,
    tied: bool = False,
) -> list[PruneUnit]:
    """The units of the layers that have group scores.

    tied: the layers of each coupling form one unit, by whole filters only. The same channels are
    removed from all of them, by the mean of their scores, and they share one curve.
    Without tied, each layer is a unit: channels that a residual add or a depthwise convolution
    fills from other layers stay active. Where whole heads are removed, the layers of one
    attention are always one unit.
    Biases and norms of removed outputs are set to zero (`UnitPruner.all_masks`).
    Raises PruningError for tied layers at a granularity that does not tie layers.
    """
    if tied:
        return _coupled_units(layers, groups, g, couplings)
    parts = tied_parts([layer for layer in layers if layer.name in groups], g)
    return [PruneUnit(tuple(layer.name for layer in part), groups[part[0].name]) for part in parts]


def _coupled_units(
    layers: tuple[Layer, ...], groups: GroupScores, g: Granularity, couplings: Sequence[Coupling]
) -> list[PruneUnit]:
    """One unit for each coupling that holds a layer with group scores."""
    if not g.ties_layers:
        raise PruningError(
            f"Tied layers can be pruned together by whole filters only, not by {g.label}: "
            "scan each layer alone."
        )
    units = []
    for coupling in couplings:
        names = tuple(
            layer.name for layer in layers if layer.name in coupling.layers and layer.name in groups
        )
        if names:
            scores = channel_scores(coupling, names, groups)
            units.append(PruneUnit(names, scores[None], coupling, coupling.reason))
    return units


@dataclass(frozen=True, eq=False)
class UnitPruner:
    """Makes the masks of one unit at a time, and measures the network with them."""

    model: nn.Module
    layers: tuple[Layer, ...]
    g: Granularity
    couplings: Sequence[Coupling] = ()

    def masks(self, unit: PruneUnit, count: int) -> Masks:
        """Masks that remove the unit's `count` lowest groups from every scope, in the OIHW view."""
        by_name = {layer.name: layer for layer in self.layers}
        removed = lowest(unit.scores, count)
        if unit.coupling is None:
            return {name: from_groups(~removed, self.g, by_name[name]) for name in unit.names}
        channels = removed[0].cpu()
        masks = {}
        for place in unit.coupling.members:
            shape = by_name[place.parameter].shape
            keep = torch.ones(shape[0], dtype=torch.bool)
            keep[place.positions[channels[place.channels]]] = False
            masks[place.parameter] = keep[:, None, None, None].expand(shape)
        return masks

    def all_masks(self, masks: Masks) -> dict[str, Tensor]:
        """The masks and those of dependent parameters, each in the parameter's own shape.

        True = keep. Dependent are biases and norms of removed outputs (`dependent_masks`).
        """
        by_name = {layer.name: layer for layer in self.layers}
        own = {name: stored(mask, by_name[name]) for name, mask in masks.items()}
        return intersect(own, self._dependent(masks))

    def repaired_copy(self, masks: Masks, repairing: BoundRepair) -> nn.Module:
        """A copy of the network with these masks, repaired."""
        return repairing(apply_masks(self.model, masks, self.layers, self._dependent(masks)), masks)

    def _dependent(self, masks: Masks) -> dict[str, Tensor]:
        """Masks of what must be zero besides the masked weights."""
        if not self.g.removes_outputs:
            return {}
        return dependent_masks(self.model, self.layers, masks, self.couplings)

    def removed(self, unit: PruneUnit, count: int) -> dict[str, float]:
        """The fraction of each layer's weights that is removed with `count` groups."""
        return achieved(self.masks(unit, count)) if count else dict.fromkeys(unit.names, 0.0)

    def measured(
        self,
        wanted: Sequence[tuple[PruneUnit, Sequence[int]]],
        partial_forward: PartialForward,
        judge: Judge,
    ) -> Iterator[MeasuredAndRemoved]:
        """Yields what the judge measured and removed fractions, unit by unit and count by count.

        wanted: units with the numbers of groups to remove, each above 0.
        """
        pruned = [(unit, counts) for unit, counts in wanted if counts]
        removed: dict[int, list[dict[str, float]]] = {}

        def changes(index: int) -> list[Zeroed]:
            unit, counts = pruned[index]
            masks = [self.masks(unit, count) for count in counts]
            removed[index] = [achieved(part) for part in masks]
            tensors = partial_forward.forward.program.tensor
            return [Zeroed(tensors, self.all_masks(part)) for part in masks]

        sites = [self._site(unit, max(counts)) for unit, counts in pruned]
        read = partial_forward.forward.measured_by(judge)
        for index, place, parts in partial_forward.read_at(sites, changes, read):
            yield parts, removed[index][place]

    def _site(self, unit: PruneUnit, count: int) -> tuple[str, ...]:
        """The parameters that change when `count` groups, or fewer, are removed."""
        if not self.g.removes_outputs:
            return unit.names
        return tuple(self.all_masks(self.masks(unit, count)))
