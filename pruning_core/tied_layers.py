"""Layers that lose the same groups: those of one attention, and those with tied channels."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from pruning_core.granularity import Granularity
from pruning_core.model.coupling.positions import ChannelPositions, Coupling
from pruning_core.types import GroupScores, Layer, Ratios


def tied_parts(
    layers: Sequence[Layer], g: Granularity, couplings: Sequence[Coupling] = ()
) -> list[tuple[Layer, ...]]:
    """The layers in parts that lose the same groups, in the network's order.

    Where a group spans an attention, a part is all layers of one attention; otherwise it is one
    layer. A head is removed as a whole: its query, key and value rows and the output columns that
    read it (Michel et al. 2019, arXiv:1905.10650). The layers of one of the couplings are one part.
    """
    first = {name: own.layers[0] for own in couplings for name in own.layers}
    parts: dict[tuple[str, int] | str, list[Layer]] = {}
    for layer in layers:
        spans = g.spans_attention and layer.attention
        key = (layer.attention, layer.heads) if spans else first.get(layer.name, layer.name)
        parts.setdefault(key, []).append(layer)
    return [tuple(part) for part in parts.values()]


def average_ratios(
    ratios: Ratios, layers: Sequence[Layer], g: Granularity, couplings: Sequence[Coupling] = ()
) -> Ratios:
    """One ratio for layers that lose the same groups: their mean, weighted by their sizes."""
    averaged = dict(ratios)
    for part in tied_parts([layer for layer in layers if layer.name in ratios], g, couplings):
        if len(part) > 1:
            removed = sum(ratios[layer.name] * layer.numel for layer in part)
            mean = removed / sum(layer.numel for layer in part)
            averaged |= {layer.name: mean for layer in part}
    return averaged


def extend_ratios(
    overrides: Mapping[str, float],
    layers: Sequence[Layer],
    g: Granularity,
    couplings: Sequence[Coupling] = (),
) -> dict[str, float]:
    """Ratios set by hand, for every layer that loses the same groups: the highest of those set."""
    extended = dict(overrides)
    for part in tied_parts(layers, g, couplings):
        if given := [overrides[layer.name] for layer in part if layer.name in overrides]:
            extended |= {layer.name: max(given) for layer in part}
    return extended


def channel_scores(
    coupling: Coupling, names: Sequence[str], groups: GroupScores
) -> Float[Tensor, " c"]:
    """A channel's score: the mean over the layers that have one; infinite where none has."""
    total = torch.zeros(coupling.channels)
    members = torch.zeros(coupling.channels)
    for place in coupling.members:
        if place.parameter in names:
            total.index_add_(
                0, place.channels, groups[place.parameter][0, place.positions].float().cpu()
            )
            members.index_add_(0, place.channels, torch.ones(len(place.positions)))
    return (total / members).masked_fill(members == 0, torch.inf)


def tied_scores(groups: GroupScores, couplings: Sequence[Coupling]) -> GroupScores:
    """The scores, with those of a coupling's channels in every one of its layers.

    couplings: whose layers all hold the same channels (`same_channels`).
    """
    tied = dict(groups)
    for own in couplings:
        names = [name for name in own.layers if name in groups]
        if len(names) > 1:
            scores = channel_scores(own, names, groups)
            for place in own.members:
                if place.parameter in names:
                    rows = torch.empty_like(scores)
                    rows[place.positions] = scores[place.channels]
                    tied[place.parameter] = rows[None]
    return tied


def same_channels(couplings: Sequence[Coupling]) -> tuple[Coupling, ...]:
    """The couplings of several layers whose outputs are the same channels, in the same order."""
    return tuple(
        own
        for own in couplings
        if len(own.members) > 1
        and own.reason is None
        and len({_rows_of_channels(place, own.channels) for place in own.members}) == 1
        and _rows_of_channels(own.members[0], own.channels)
    )


def _rows_of_channels(place: ChannelPositions, channels: int) -> tuple[int, ...]:
    """The row of every channel; () where some channel has no row, or several."""
    rows = dict(zip(place.channels.tolist(), place.positions.tolist(), strict=True))
    if len(place.positions) != channels or sorted(rows) != list(range(channels)):
        return ()
    return tuple(rows[channel] for channel in range(channels))
