"""An attention's heads: query, key and value rows and output columns that mean nothing without each
other.
"""

from collections.abc import Mapping, Sequence

from pruning_core.granularity import Granularity
from pruning_core.types import Layer, Ratios


def tied_parts(layers: Sequence[Layer], g: Granularity) -> list[tuple[Layer, ...]]:
    """The layers in parts that lose the same groups: the layers of one attention if whole heads go,
    else each alone.

    In the network's order. A head is removed as one: its query, key and value rows and the output
    columns that read it (Michel et al. 2019, arXiv:1905.10650).
    """
    parts: dict[tuple[str, int] | str, list[Layer]] = {}
    for layer in layers:
        parts.setdefault(
            (layer.attention, layer.heads) if g.spans_attention and layer.attention else layer.name,
            [],
        ).append(layer)
    return [tuple(part) for part in parts.values()]


def average_ratios(ratios: Ratios, layers: Sequence[Layer], g: Granularity) -> Ratios:
    """Layers that lose the same groups get one ratio: the mean of theirs, weighed by their numbers
    of weights.
    """
    found = dict(ratios)
    for part in tied_parts([layer for layer in layers if layer.name in ratios], g):
        if len(part) > 1:
            mean = sum(ratios[layer.name] * layer.numel for layer in part) / sum(
                layer.numel for layer in part
            )
            found |= {layer.name: mean for layer in part}
    return found


def extend_ratios(
    overrides: Mapping[str, float], layers: Sequence[Layer], g: Granularity
) -> dict[str, float]:
    """Ratios set by hand, for every layer that loses the same groups: the highest of those set."""
    found = dict(overrides)
    for part in tied_parts(layers, g):
        if given := [overrides[layer.name] for layer in part if layer.name in overrides]:
            found |= {layer.name: max(given) for layer in part}
    return found
