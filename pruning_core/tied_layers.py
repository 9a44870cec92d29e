"""Layers of one attention, whose heads are removed together: query, key, value and output."""

from collections.abc import Mapping, Sequence

from pruning_core.granularity import Granularity
from pruning_core.types import Layer, Ratios


def tied_parts(layers: Sequence[Layer], g: Granularity) -> list[tuple[Layer, ...]]:
    """The layers in parts that lose the same groups, in the network's order.

    Where a group spans an attention, a part is all layers of one attention; otherwise it is one
    layer. A head is removed as a whole: its query, key and value rows and the output columns that
    read it (Michel et al. 2019, arXiv:1905.10650).
    """
    parts: dict[tuple[str, int] | str, list[Layer]] = {}
    for layer in layers:
        spans = g.spans_attention and layer.attention
        key = (layer.attention, layer.heads) if spans else layer.name
        parts.setdefault(key, []).append(layer)
    return [tuple(part) for part in parts.values()]


def average_ratios(ratios: Ratios, layers: Sequence[Layer], g: Granularity) -> Ratios:
    """One ratio for layers that lose the same groups: their mean, weighted by their sizes."""
    averaged = dict(ratios)
    for part in tied_parts([layer for layer in layers if layer.name in ratios], g):
        if len(part) > 1:
            removed = sum(ratios[layer.name] * layer.numel for layer in part)
            mean = removed / sum(layer.numel for layer in part)
            averaged |= {layer.name: mean for layer in part}
    return averaged


def extend_ratios(
    overrides: Mapping[str, float], layers: Sequence[Layer], g: Granularity
) -> dict[str, float]:
    """Ratios set by hand, for every layer that loses the same groups: the highest of those set."""
    extended = dict(overrides)
    for part in tied_parts(layers, g):
        if given := [overrides[layer.name] for layer in part if layer.name in overrides]:
            extended |= {layer.name: max(given) for layer in part}
    return extended
