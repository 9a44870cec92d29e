"""What numbers of removed groups cost in a plan's network: counts, and bytes."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import isclose

from pruning_core.compress.storage_sizes import stored_share
from pruning_core.compress.thin_sizes import thinned_bytes
from pruning_core.model.coupling.positions import Coupling
from pruning_core.model.model_io import tensor_bytes
from pruning_core.pipeline import counts
from pruning_core.plan import Plan
from pruning_core.resolved_plan import ResolvedPlan
from pruning_core.search.channel_counts import ChannelCounts
from pruning_core.search.measured_times import TimeShare
from pruning_core.search.space import Part
from pruning_core.search.stored_counts import StoredCounts
from pruning_core.types import GroupScores, Masks, Ratios
from pruning_core.workspaces import Workspace

COUNTED = {
    "macs": "multiply-adds",
    "parameters": "parameters",
    "bytes": "stored bytes",
}
"""Costs that are counted, with their words."""
Removed = Mapping[str, int]
"""By the name of a part, how many groups of every scope are removed."""


class PlanCosts:
    """Shares of the dense network's costs, by the quickest way that is exact.

    From numbers of channels, of groups, or of heads alone; from masks where hand edits, a sparse
    start or the network need it.
    """

    def __init__(
        self,
        plan: Plan,
        space: Workspace,
        resolved: ResolvedPlan,
        groups: GroupScores,
        parts: tuple[Part, ...],
    ) -> None:
        self.parts = parts
        self._plan = plan
        self._space = space
        self._resolved = resolved
        self._groups = groups
        self._layers = {layer.name: layer for layer in resolved.layers}
        self._couplings = resolved.space.tied[0]
        self._lost_known: dict[tuple[str, int], dict[str, float]] = {}

    def shares(self, removed: Removed, names: Sequence[str]) -> dict[str, float]:
        """The shares of the dense network's costs of these names, of `COUNTED`."""
        if self._channels is not None:
            counts_now = [removed[part.name] for part in self.parts]
            counts_now += [0] * (len(self._couplings) - len(counts_now))
            now = self._channels.thinned(counts_now)
            dense = self._channels.dense
            return {name: getattr(now, name) / getattr(dense, name) for name in names}
        if self._by_layers:
            return self._kept_weights(removed, names)
        if self._adds_up:
            return self._of_parts(removed, names)
        return self.of_masks(removed, names)

    def of_masks(self, removed: Removed, names: Sequence[str]) -> dict[str, float]:
        """Counts of the masks; of the thinned network where whole outputs are removed."""
        masks = self._masks(removed)
        left = counts(self._plan, self._space, masks).remaining
        if "bytes" in names:
            left["bytes"] = self._bytes(masks)
        return {name: left[name] for name in names}

    def time(self, removed: Removed) -> TimeShare:
        """Measures the thinned network in pairs with the dense one (`latency.pruned_timing`)."""
        from pruning_core.compress.latency import pruned_timing  # not before it is used

        masks = self._masks(removed)
        model = self._resolved.masked_copy(masks)
        timing = pruned_timing(self._plan, self._space, masks, model)
        low, high = timing.interval
        return TimeShare(1 / timing.speedup, 1 / high, 1 / low, timing.n, timing.doubt)

    def _masks(self, removed: Removed) -> Masks:
        ratios: Ratios = dict.fromkeys(self._layers, 0.0)
        for part in self.parts:
            ratios |= part.ratios(removed.get(part.name, 0) / part.groups)
        return self._resolved.masks(self._groups, ratios)

    @cached_property
    def _channels(self) -> ChannelCounts | None:
        """Counts from numbers of removed channels; None where masks must be counted."""
        plain = not (self._plan.edits_now or self._resolved.start)
        couplings = [coupling_of(self._couplings, part.name) for part in self.parts]
        if not (plain and self._resolved.granularity.ties_layers):
            return None
        known = [coupling for coupling in couplings if coupling is not None]
        if [coupling.channels for coupling in known] != [part.groups for part in self.parts]:
            return None
        others = [coupling for coupling in self._couplings if coupling not in known]
        try:
            return ChannelCounts(
                self._resolved.space.model, self._resolved.space.layers, [*known, *others]
            )
        except ValueError:
            return None

    @cached_property
    def _by_layers(self) -> bool:
        """Do numbers of removed groups give the counts? Groups of a layer have one size."""
        plain = not (self._plan.edits_now or self._resolved.start)
        sizes = (
            self._layers[name].numel % self._groups[name].numel()
            for p in self.parts
            for name in p.layers
        )
        return plain and not self._resolved.granularity.removes_outputs and not any(sizes)

    def _kept_weights(self, removed: Removed, names: Sequence[str]) -> dict[str, float]:
        layers = self._resolved.space.layers
        lost = {
            name: removed[part.name] / part.groups for part in self.parts for name in part.layers
        }
        shares = {}
        if "macs" in names:
            macs = sum(layer.macs for layer in layers)
            shares["macs"] = 1 - sum(x.macs * lost.get(x.name, 0) for x in layers) / macs
        if "parameters" in names:
            total = sum(p.numel() for p in self._resolved.space.model.parameters())
            shares["parameters"] = 1 - sum(x.numel * lost.get(x.name, 0) for x in layers) / total
        if "bytes" in names:
            shares["bytes"] = self._stored_counts.share(dict.fromkeys(self._layers, 0.0) | lost)
        return shares

    @cached_property
    def _stored_counts(self) -> StoredCounts:
        return StoredCounts(self._resolved, self._groups)

    @cached_property
    def _adds_up(self) -> bool:
        """Is the cost of all parts together the sum of theirs? So for the heads of attentions.

        Tried with different numbers of removed groups in all parts.
        """
        plain = not (self._plan.edits_now or self._resolved.start)
        if not (plain and self._resolved.granularity.spans_attention):
            return False
        removed = {part.name: 1 + k % max(1, part.groups - 1) for k, part in enumerate(self.parts)}
        together = self.of_masks(removed, tuple(COUNTED))
        apart = self._of_parts(removed, tuple(COUNTED))
        return all(isclose(together[name], apart[name], abs_tol=1e-6) for name in COUNTED)

    def _of_parts(self, removed: Removed, names: Sequence[str]) -> dict[str, float]:
        """All costs without what each part loses. Every number of groups is counted once."""
        lost = [self._lost(part, removed[part.name]) for part in self.parts]
        return {name: 1 - sum(part[name] for part in lost) for name in names}

    def _lost(self, part: Part, count: int) -> dict[str, float]:
        """The shares of the costs that the part loses without `count` of its groups."""
        key = part.name, count
        if key not in self._lost_known:
            left = self.of_masks({part.name: count}, tuple(COUNTED))
            self._lost_known[key] = {name: 1 - share for name, share in left.items()}
        return self._lost_known[key]

    def _bytes(self, masks: Masks) -> float:
        """Of the thinned network where whole outputs are removed, else in the smallest format."""
        resolved = self._resolved
        if resolved.granularity.removes_outputs:
            masked = resolved.masked_copy(masks)
            if (left := thinned_bytes(masked, resolved.space, masks)) is not None:
                return left / tensor_bytes(masked)
        return stored_share(
            resolved.space.model, resolved.space.layers, masks, resolved.granularity
        )


def coupling_of(couplings: Sequence[Coupling], layer: str) -> Coupling | None:
    """The coupling of the layer's channels; None where it has none, or several."""
    tied = [coupling for coupling in couplings if layer in coupling.layers]
    return tied[0] if len(tied) == 1 else None
