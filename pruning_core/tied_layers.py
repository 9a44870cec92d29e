"""Layers that lose the same groups: those of one attention, and those with tied channels."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from pruning_core.errors import shortened
from pruning_core.granularity import Granularity
from pruning_core.hand_edits import GroupEdit
from pruning_core.model.coupling.positions import Coupling
from pruning_core.types import GroupScores, Layer, Ratios

NAMES_SHOWN = 3


def tied_parts(
    layers: Sequence[Layer], g: Granularity, couplings: Sequence[Coupling] = ()
) -> list[tuple[Layer, ...]]:
    """The layers in parts that lose the same groups, in the network's order.

    Where a group spans an attention, a part is all layers of one attention; otherwise it is one
    layer. A head is removed as a whole: its query, key and value rows and the output columns that
    read it (Michel et al. 2019, arXiv:1905.10650). The layers of one of the couplings are one part.
    """
    first = {name: coupling.layers[0] for coupling in couplings for name in coupling.layers}
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

    couplings: whose layers lose the same channels (`same_channels`). Where layers hold their
    channels in other orders, or in several outputs, equal scores become different by rounding, so
    that the same channels are lowest in all of them.
    """
    tied = dict(groups)
    for coupling in couplings:
        names = [name for name in coupling.layers if name in groups]
        if len(names) > 1 or (names and has_several_outputs(coupling)):
            scores = channel_scores(coupling, names, groups)
            scores = scores if _in_one_order(coupling) else _distinct(scores)
            for place in coupling.members:
                if place.parameter in names:
                    rows = scores.new_empty(len(place.positions))
                    rows[place.positions] = scores[place.channels]
                    tied[place.parameter] = rows[None]
    return tied


def same_channels(couplings: Sequence[Coupling]) -> tuple[Coupling, ...]:
    """The couplings whose layers lose the same channels at one ratio.

    Every layer holds each channel in as many outputs: in one, or in several, as a grouped
    convolution, whose groups lose as many outputs each.
    """
    return tuple(
        coupling
        for coupling in couplings
        if coupling.reason is None
        and outputs_per_channel(coupling)
        and (len(coupling.members) > 1 or has_several_outputs(coupling))
    )


def unequal_couplings(couplings: Sequence[Coupling]) -> tuple[Coupling, ...]:
    """The couplings whose layers cannot lose the same channels at one ratio.

    Their layers hold different channels, or some channels in more outputs than others.
    """
    return tuple(
        coupling
        for coupling in couplings
        if coupling.reason is None and not outputs_per_channel(coupling)
    )


def unequal_note(couplings: Sequence[Coupling]) -> str | None:
    """A sentence on `unequal_couplings`; None without any."""
    names = [name for coupling in couplings for name in coupling.layers]
    if not names:
        return None
    return (
        f"The outputs of {shortened(names, NAMES_SHOWN)} that belong together cannot be removed "
        "together by one ratio: each output is removed by its own score."
    )


def outputs_per_channel(coupling: Coupling) -> tuple[int, ...]:
    """In how many outputs each layer holds every channel; () where the channels differ in that."""
    made = []
    for place in coupling.members:
        counts = place.channels.bincount(minlength=coupling.channels)
        if int(counts.min()) != int(counts.max()):
            return ()
        made.append(int(counts[0]))
    return tuple(made)


def has_several_outputs(coupling: Coupling) -> bool:
    """Does a layer hold every channel in several outputs?"""
    return max(outputs_per_channel(coupling), default=0) > 1


def edits_of_channels(
    edits: Iterable[GroupEdit], asked: str, name: str, couplings: Sequence[Coupling]
) -> list[GroupEdit]:
    """Hand edits of layer `asked`, as edits of layer `name`, which loses the same channels."""
    coupling = next((tied for tied in couplings if {asked, name} <= set(tied.layers)), None)
    if coupling is None:
        return list(edits)
    places = {place.parameter: place for place in coupling.members}
    channel_of = dict(
        zip(places[asked].positions.tolist(), places[asked].channels.tolist(), strict=True)
    )
    rows_of: dict[int, list[int]] = {}
    for row, channel in zip(
        places[name].positions.tolist(), places[name].channels.tolist(), strict=True
    ):
        rows_of.setdefault(channel, []).append(row)
    return [
        (scope, row, keep)
        for scope, group, keep in edits
        for row in (rows_of[channel_of[group]] if group in channel_of else [group])
    ]


def _in_one_order(coupling: Coupling) -> bool:
    """Is a channel the same output of every layer?"""
    first, *others = coupling.members
    return len(first.positions) == coupling.channels and all(
        first.positions.equal(place.positions) and first.channels.equal(place.channels)
        for place in others
    )


def _distinct(scores: Float[Tensor, " c"]) -> Float[Tensor, " c"]:
    """The scores in their order, where of equal ones each is a little above the one before it."""
    order = scores.argsort(stable=True)
    rising = scores[order].tolist()
    if len(set(rising)) == len(rising):
        return scores
    last = torch.tensor(-torch.inf)
    up = torch.tensor(torch.inf)
    for place, value in enumerate(rising):
        last = torch.maximum(torch.nextafter(last, up), torch.tensor(value))
        rising[place] = float(last)
    return torch.empty_like(scores).index_copy(0, order, torch.tensor(rising))
