"""Stored bytes of masked layers from numbers of removed groups, with few masks."""

from collections.abc import Mapping
from dataclasses import replace

import torch

from pruning_core.compress.storage_formats import FORMATS, LayerCounts, count_layer, total_bytes
from pruning_core.compress.storage_sizes import unmasked_bytes
from pruning_core.masks import select
from pruning_core.model.model_io import tensors_of
from pruning_core.resolved_plan import ResolvedPlan
from pruning_core.types import GroupScores

Removed = Mapping[str, float]
"""By layer, the part of the groups of every scope that is removed, in whole groups."""


class StoredCounts:
    """The share of the dense bytes in the smallest sparse format, as `stored_share` gives it.

    Sizes follow from the numbers of removed groups, except for the fillers of formats with
    distances. A mask is made only where such a format could be the smallest, and once for every
    number of groups of a layer.
    """

    def __init__(self, resolved: ResolvedPlan, groups: GroupScores) -> None:
        self._groups = groups
        self._granularity = resolved.granularity
        self._allow_collapse = resolved.allow_collapse
        self._layers = {layer.name: layer for layer in resolved.layers}
        state = tensors_of(resolved.space.model)
        self._bits = {name: 8 * state[name].element_size() for name in self._layers}
        kept = {name: torch.ones(x.shape, dtype=torch.bool) for name, x in self._layers.items()}
        self._rest = unmasked_bytes(state, kept)
        self._full = {name: self._counted(name, mask) for name, mask in kept.items()}
        self._exact: dict[tuple[str, float], LayerCounts] = {}

    def share(self, removed: Removed) -> float:
        """The share of the dense bytes that is left."""
        least = [self._without_fillers(name, part) for name, part in removed.items()]
        name = self._smallest(least)
        entry = FORMATS[name]
        filled = [replace(own, fillers=1, group_fillers=1) for own in least]
        if total_bytes(entry, filled) != total_bytes(entry, least):
            least = [self._with_fillers(name, part) for name, part in removed.items()]
            name = self._smallest(least)
        dense = total_bytes(FORMATS["dense"], least)
        smallest = total_bytes(FORMATS[name], least)
        return (self._rest + (smallest or 0)) / (self._rest + (dense or 0))

    def _smallest(self, counts: list[LayerCounts]) -> str:
        sizes = {name: total_bytes(entry, counts) for name, entry in FORMATS.items()}
        known = {name: size for name, size in sizes.items() if size is not None}
        return min((name for name in known if name != "dense"), key=known.__getitem__)

    def _without_fillers(self, name: str, part: float) -> LayerCounts:
        full = self._full[name]
        kept = full.groups - round(part * full.groups)
        return replace(
            full, nonzeros=kept * full.group_size, kept_groups=kept, fillers=0, group_fillers=0
        )

    def _with_fillers(self, name: str, part: float) -> LayerCounts:
        if (name, part) not in self._exact:
            (mask,) = select(
                self._groups,
                (self._layers[name],),
                self._granularity,
                {name: part},
                allow_collapse=self._allow_collapse,
            ).values()
            self._exact[name, part] = self._counted(name, mask)
        return self._exact[name, part]

    def _counted(self, name: str, mask: torch.Tensor) -> LayerCounts:
        return count_layer(self._layers[name], mask, self._bits[name], self._granularity)
