"""What of a masked network can be removed: channels of couplings and heads of attentions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from pruning_core.errors import shortened
from pruning_core.granularity import GRANULARITIES, to_groups
from pruning_core.model.coupling.dependent_masks import (
    dependent_on_rows,
    readers_of_removed,
    removed_channels,
    removed_rows,
)
from pruning_core.model.coupling.positions import HEAD_ROWS, Coupling
from pruning_core.model.inventory import named_parameters, stored
from pruning_core.types import Layer, Masks

Places = dict[str, Bool[Tensor, "..."]]
"""Parameter name -> True = removed, in the parameter's own shape."""
NAMES_SHOWN = 2


@dataclass(frozen=True, eq=False)
class Part:
    """Channels of one coupling, or heads of one attention: removed together or not at all.

    layers: whose outputs are removed; removed: by channel or head, True = removed; coupling: of
    the channels; heads: the layers of the attention.
    """

    layers: tuple[str, ...]
    removed: Bool[Tensor, " c"]
    coupling: Coupling | None = None
    heads: tuple[Layer, ...] = ()

    @property
    def note(self) -> str | None:
        """What the coupling notes about removed channels."""
        return self.coupling.note if self.coupling else None


@dataclass(frozen=True, eq=False)
class Parts:
    """All parts, and sentences: refused: why removed outputs stay; notes: what else is kept."""

    parts: tuple[Part, ...]
    refused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(eq=False)
class _Sentences:
    refused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def stays(names: Sequence[str], why: str) -> str:
    """The sentence that refuses to make layers narrower."""
    shown = shortened(names, NAMES_SHOWN)
    if len(names) > 1:
        return f"{shown} stay as wide as before: {why}"
    return f"{shown} stays as wide as before: {why}"


def removable_parts(
    masked: nn.Module, layers: Sequence[Layer], masks: Masks, couplings: Sequence[Coupling]
) -> Parts:
    """The parts that the masks remove from a masked network.

    A channel is removed if every layer that computes it has lost its outputs and what follows it is
    zero in `masked`; or if every weight that reads it is masked. A head is removed if its query,
    key and value rows are masked, or the columns that read it.
    """
    sentences = _Sentences()
    heads = list(_head_parts(layers, masks, sentences))
    parts = list(heads)
    by_head = {layer.name for part in heads for layer in part.heads}
    rows = removed_rows(masks)
    parameters = named_parameters(masked, layers)
    for coupling in couplings:
        lost = {name for name in coupling.layers if name in rows and bool(rows[name].any())}
        if coupling.reason is not None:
            if lost and not (coupling.reason == HEAD_ROWS and lost <= by_head):
                sentences.refused.append(
                    stays(sorted(lost, key=coupling.layers.index), coupling.reason)
                )
            continue
        zero = removed_channels(coupling, rows) & ~_living(coupling, parameters)
        removed = zero | _unread(coupling, layers, masks, parameters)
        _note_what_stays(coupling, rows, removed, sentences)
        for place in coupling.members:
            if removed[place.channels].all():
                removed[place.channels[0]] = False
                sentences.notes.append(
                    f"{place.parameter} keeps one channel, whose weights are zero: a layer without "
                    "channels cannot be computed."
                )
        if removed.any():
            parts.append(Part(coupling.layers, removed, coupling))
    return Parts(tuple(parts), tuple(sentences.refused), tuple(sentences.notes))


def removed_weights(
    model: nn.Module, layers: Sequence[Layer], couplings: Sequence[Coupling], parts: Sequence[Part]
) -> Places:
    """Every weight that a network without the parts does not have."""
    by_name = {layer.name: layer for layer in layers}
    by_coupling = {id(part.coupling): part.removed for part in parts if part.coupling}
    channels = [
        by_coupling.get(id(own), torch.zeros(own.channels, dtype=torch.bool)) for own in couplings
    ]
    shapes = {name: parameter.shape for name, parameter in named_parameters(model, layers).items()}
    removed = readers_of_removed(couplings, channels, shapes)

    def places(name: str) -> Tensor:
        return removed.setdefault(name, torch.zeros(shapes[name], dtype=torch.bool))

    for coupling, own in zip(couplings, channels, strict=True):
        if not own.any():
            continue
        for follower in coupling.follows:
            positions = follower.positions[own[follower.channels]]
            places(follower.parameter).index_fill_(follower.axis, positions, True)
        for member in coupling.members:
            rows = _rows(by_name[member.parameter], member.positions[own[member.channels]])
            removed[member.parameter] = places(member.parameter) | rows
    for part in parts:
        for name, of_heads in _removed_heads(model, part).items():
            removed[name] = places(name) | of_heads
    return {name: own for name, own in removed.items() if own.any()}


def kept_positions(name: str, removed: Tensor) -> dict[int, list[int]]:
    """The positions that are kept along each axis that loses some.

    Raises ValueError where what is kept is no block: some rows would keep other columns.
    """
    keep = ~removed
    along = {
        axis: keep.movedim(axis, 0).flatten(1).any(1) if keep.ndim > 1 else keep
        for axis in range(keep.ndim)
    }
    if not keep.any():
        raise ValueError(f"nothing of {name} would be left")
    block = torch.tensor([int(kept.sum()) for kept in along.values()]).prod()
    if int(block) != int(keep.sum()):
        raise ValueError(f"the rows of {name} would read different channels")
    return {
        axis: kept.nonzero().flatten().tolist() for axis, kept in along.items() if not kept.all()
    }


def _rows(layer: Layer, positions: Tensor) -> Tensor:
    """True at the layer's weights in these rows, in the parameter's own shape."""
    rows = torch.zeros(layer.shape, dtype=torch.bool).index_fill_(0, positions, True)
    return stored(rows, layer)


def _living(coupling: Coupling, parameters: Mapping[str, nn.Parameter]) -> Bool[Tensor, " c"]:
    """The channels that a bias, shift or the like still gives a value."""
    living = torch.zeros(coupling.channels, dtype=torch.bool)
    for place in coupling.follows:
        values = parameters[place.parameter].detach().cpu() != 0
        along = values.movedim(place.axis, 0).flatten(1).any(1) if values.ndim > 1 else values
        living[place.channels[along[place.positions]]] = True
    return living


def _unread(
    coupling: Coupling,
    layers: Sequence[Layer],
    masks: Masks,
    parameters: Mapping[str, nn.Parameter],
) -> Bool[Tensor, " c"]:
    """The channels that some weights read, all of which are masked."""
    by_name = {layer.name: layer for layer in layers}
    read = torch.zeros(coupling.channels, dtype=torch.bool)
    alive = torch.zeros(coupling.channels, dtype=torch.bool)
    for place in coupling.reads:
        read[place.channels] = True
        if place.parameter not in masks:
            alive[place.channels] = True
            continue
        kept = stored(masks[place.parameter].cpu(), by_name[place.parameter])
        kept = kept[slice(*(place.rows or (None,)))]
        along = kept.movedim(place.axis, 0).flatten(1).any(1)
        alive[place.channels[along[place.positions]]] = True
    return read & ~alive


def _note_what_stays(
    coupling: Coupling, rows: Mapping[str, Tensor], removed: Tensor, sentences: _Sentences
) -> None:
    """A note for channels that some of the tied layers have lost and others have not."""
    lost = torch.zeros(coupling.channels, dtype=torch.bool)
    for place in coupling.members:
        if place.parameter in rows:
            lost[place.channels[rows[place.parameter][place.positions]]] = True
    stay = int((lost & ~removed).sum())
    if stay and len(coupling.members) > 1:
        sentences.notes.append(
            f"{shortened(coupling.layers, NAMES_SHOWN)} compute the same {coupling.channels} "
            f"channels: {stay} that some of these layers have lost stay, as zeros there, because "
            "others keep them."
        )


def _head_parts(layers: Sequence[Layer], masks: Masks, sentences: _Sentences) -> Iterator[Part]:
    attentions: dict[tuple[str, int], list[Layer]] = {}
    for layer in layers:
        if layer.heads > 1:
            attentions.setdefault((layer.attention, layer.heads), []).append(layer)
    for (path, heads), own in attentions.items():
        inputs = [layer for layer in own if layer.kind != "attention_out"]
        outputs = [layer for layer in own if layer.kind == "attention_out"]
        lost_in = _lost_by_all(inputs, masks, heads)
        removed = lost_in | _lost_by_all(outputs, masks, heads)
        if removed.all():
            removed[0] = False
            sentences.notes.append(f"{path} keeps one head, whose weights are zero.")
        if removed.any() and inputs and outputs:
            yield Part(tuple(layer.name for layer in own), removed, heads=tuple(own))


def _lost_by_all(layers: Sequence[Layer], masks: Masks, heads: int) -> Bool[Tensor, " h"]:
    """The heads of which all the layers have lost every weight."""
    lost = torch.full((heads,), bool(layers))
    for layer in layers:
        mask = masks.get(layer.name)
        kept = torch.ones(heads, dtype=torch.bool) if mask is None else _heads(mask, layer).any(1)
        lost &= ~kept
    return lost


def _heads(tensor: Tensor, layer: Layer) -> Tensor:
    """Head x weight."""
    return to_groups(tensor.cpu(), GRANULARITIES["head"], layer)[0]


def _removed_heads(model: nn.Module, part: Part) -> Places:
    """The weights and biases of the part's heads."""
    removed: Places = {}
    rows: dict[str, Tensor] = {}
    for layer in part.heads:
        index = torch.arange(layer.numel).reshape(layer.shape)
        places = torch.zeros(layer.numel, dtype=torch.bool)
        places[_heads(index, layer)[part.removed].flatten()] = True
        view = places.reshape(layer.shape)
        removed[layer.name] = stored(view, layer)
        if layer.kind != "attention_out":
            rows[layer.name] = view.flatten(1).all(1)
    vectors = dependent_on_rows(model, part.heads, rows, ())
    return removed | {name: ~keep for name, keep in vectors.items()}
