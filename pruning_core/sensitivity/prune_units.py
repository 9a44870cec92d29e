"""What a scan cuts as one, and the logits of each cut: a layer alone, or layers whose channels are
tied.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pruning_core.evaluation.partial_forward import PartialForward, Zeroed
from pruning_core.granularity import Granularity, from_groups
from pruning_core.masks import achieved, lowest, n_removed
from pruning_core.model.coupling.dependent_masks import dependent_masks
from pruning_core.model.coupling.positions import Coupling
from pruning_core.tied_layers import tied_parts
from pruning_core.types import GroupScores, Layer, Masks, PruningError

Visited = tuple[Tensor, Mapping[str, float]]


@dataclass(frozen=True, eq=False)
class PruneUnit:
    """What is cut as one: a layer, or the layers of a coupling, by name. scores: scope x group;
    why: it cannot be cut.
    """

    names: tuple[str, ...]
    scores: Float[Tensor, "s g"]
    coupling: Coupling | None = None
    why: str | None = None

    @property
    def group(self) -> tuple[str, ...]:
        """The layers cut together, () for one alone."""
        return self.names if len(self.names) > 1 else ()

    def curve(self, g: Granularity, grid: Sequence[float]) -> list[tuple[float, int]]:
        """(sparsity, groups of every scope that go), rising from 0; N:M has one sparsity of its
        own.
        """
        ratios = sorted({0.0, *((g.fixed_ratio,) if g.fixed_ratio is not None else grid)})
        return [
            (ratio, 0 if self.why else n_removed(g, ratio, self.scores.shape[1]))
            for ratio in ratios
        ]


def prune_units(
    layers: tuple[Layer, ...],
    groups: GroupScores,
    g: Granularity,
    couplings: Sequence[Coupling] = (),
    *,
    tied: bool = False,
) -> list[PruneUnit]:
    """The layers with scores, each alone, or tied ones together; those of one attention are always
    one where heads go.

    Raises PruningError for tied layers not cut by filters.
    """
    return _together(layers, groups, g, couplings) if tied else _alone(layers, groups, g)


def _alone(layers: tuple[Layer, ...], groups: GroupScores, g: Granularity) -> list[PruneUnit]:
    parts = tied_parts([layer for layer in layers if layer.name in groups], g)
    return [PruneUnit(tuple(layer.name for layer in part), groups[part[0].name]) for part in parts]


def _together(
    layers: tuple[Layer, ...], groups: GroupScores, g: Granularity, couplings: Sequence[Coupling]
) -> list[PruneUnit]:
    """The couplings that hold a layer with scores; a channel's score is the mean over the members
    that have one.
    """
    if not g.ties_layers:
        raise PruningError(
            f"Tied layers are cut together by whole filters only, not by {g.label}: scan each layer alone."
        )
    found = []
    for coupling in couplings:
        names = tuple(
            layer.name for layer in layers if layer.name in coupling.layers and layer.name in groups
        )
        total = torch.zeros(coupling.channels)
        seen = torch.zeros(coupling.channels)
        for slot in (slot for slot in coupling.members if slot.name in names):
            total.index_add_(0, slot.channel, groups[slot.name][0, slot.at].float().cpu())
            seen.index_add_(0, slot.channel, torch.ones(len(slot.at)))
        if names:
            scores = (total / seen).masked_fill(seen == 0, torch.inf)
            found.append(PruneUnit(names, scores[None], coupling, coupling.reason))
    return found


@dataclass(frozen=True, eq=False)
class UnitPruner:
    """Masks of units of one network, and the network's logits with one unit cut."""

    model: nn.Module
    layers: tuple[Layer, ...]
    g: Granularity
    couplings: Sequence[Coupling] = ()

    def masks(self, unit: PruneUnit, count: int) -> Masks:
        """The masks, in the OIHW view, that remove the unit's `count` lowest groups of every scope."""
        known = {layer.name: layer for layer in self.layers}
        gone = lowest(unit.scores, count)
        if unit.coupling is None:
            return {name: from_groups(~gone, self.g, known[name]) for name in unit.names}
        masks = {}
        for slot in unit.coupling.members:
            keep = torch.ones(known[slot.name].shape[0], dtype=torch.bool)
            keep[slot.at[gone[0].cpu()[slot.channel]]] = False
            masks[slot.name] = keep[:, None, None, None].expand(known[slot.name].shape)
        return masks

    def keep(self, masks: Masks) -> dict[str, Tensor]:
        """What of each parameter stays, in its own shape: the masks, and what falls silent with
        them.
        """
        shapes = {layer.name: layer.param_shape for layer in self.layers}
        quiet = (
            dependent_masks(self.model, self.layers, masks, self.couplings)
            if self.g.removes_outputs
            else {}
        )
        return {name: mask.reshape(shapes[name]) for name, mask in masks.items()} | quiet

    def gone(self, unit: PruneUnit, count: int) -> dict[str, float]:
        """The share of each layer's weights that a cut removes."""
        return achieved(self.masks(unit, count)) if count else dict.fromkeys(unit.names, 0.0)

    def visits(
        self, wanted: Sequence[tuple[PruneUnit, Sequence[int]]], replay: PartialForward
    ) -> Iterator[Visited]:
        """Logits of every cut, unit by unit and count by count (above 0), and the share of each
        layer's weights that goes.
        """
        cut = [(unit, counts) for unit, counts in wanted if counts]
        gone: dict[int, list[dict[str, float]]] = {}

        def site(unit: PruneUnit, most: int) -> tuple[str, ...]:
            return (
                tuple(self.keep(self.masks(unit, most))) if self.g.removes_outputs else unit.names
            )

        def changes(at: int) -> list[Zeroed]:
            unit, counts = cut[at]
            masks = [self.masks(unit, count) for count in counts]
            gone[at] = [achieved(found) for found in masks]
            return [Zeroed(replay.forward.program.tensor, self.keep(found)) for found in masks]

        sites = [
            site(unit, max(counts)) for unit, counts in cut
        ]  # what a larger cut changes holds what a smaller one does
        for at, place, logits in replay.visits(sites, changes):
            yield logits, gone[at][place]
