"""What depends on removed filters: other parameters to zero, and weights that only read them."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from pruning_core.model.coupling.positions import HEAD_ROWS, IS_OUTPUT, NOT_READ, Coupling
from pruning_core.model.inventory import SEPARATE
from pruning_core.model.mask_forms import checked_masks
from pruning_core.types import GivenMasks, Layer, Masks, PruningError


def couplings_for(
    known: Callable[[], tuple[tuple[Coupling, ...], str | None]],
    removes_outputs: bool,
    *,
    tied: bool,
    instead: str | None = None,
) -> tuple[Coupling, ...]:
    """The couplings that a granularity needs: all known ones if it removes outputs, else none.

    known: gives the couplings, and why they are not known if they are not (`Workspace.tied`). It is
    called only where outputs are removed, because it can take long.
    tied: tied layers are to be pruned together. Raises PruningError with the reason, followed by
    `instead` (what to do instead), where they are but the couplings are not known.
    """
    result, reason = known() if removes_outputs else ((), None)
    if tied and reason:
        raise PruningError(" ".join(filter(None, (reason, instead))))
    return result


def dependent_masks(
    model: nn.Module, layers: tuple[Layer, ...], masks: GivenMasks, tied: Sequence[Coupling] = ()
) -> dict[str, Bool[Tensor, "..."]]:
    """Masks of the other parameters that must be zero so that a removed filter's output is zero.

    Parameter name -> True = keep, in the parameter's own shape. A filter counts as removed if none
    of its weights is kept. Its layer's bias is masked, and the scale and shift of the batch norm
    that only this layer feeds. tied: the couplings; what follows a channel is masked if all members
    have lost the channel. Raises PruningError as `checked_masks`.
    """
    return dependent_on_rows(model, layers, removed_rows(checked_masks(masks, layers)), tied)


def dependent_on_rows(
    model: nn.Module,
    layers: Sequence[Layer],
    removed: Mapping[str, Bool[Tensor, " _o"]],
    tied: Sequence[Coupling],
) -> dict[str, Bool[Tensor, "..."]]:
    """`dependent_masks` by the removed rows of each layer, True = removed."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    zeroed = _own_vectors(layers, removed, parameters)
    for coupling in tied:
        channels = removed_channels(coupling, removed)
        if coupling.reason is not None or not channels.any():
            continue
        for follower in coupling.follows:
            blank = torch.zeros(parameters[follower.parameter].shape, dtype=torch.bool)
            places = zeroed.setdefault(follower.parameter, blank)
            positions = follower.positions[channels[follower.channels]]
            places.index_fill_(follower.axis, positions, True)
    return {name: ~places for name, places in zeroed.items() if places.any()}


def dead_inputs(
    model: nn.Module, layers: Sequence[Layer], masks: GivenMasks, tied: Sequence[Coupling]
) -> dict[str, Bool[Tensor, "..."]]:
    """The weights that only read removed channels: parameter name -> False = such a weight.

    The masks have the parameters' own shapes. Such weights change nothing, and a network made
    narrower does not have them (torch-pruning's thinning, Fang et al. 2023, arXiv:2301.12900). A
    channel is removed if all members have lost it. A weight that reads channels of several
    couplings counts if all of them are removed. Tied weights are left out. Raises PruningError as
    `checked_masks`.
    """
    return dead_without_rows(model, layers, removed_rows(checked_masks(masks, layers)), tied)


def dead_without_rows(
    model: nn.Module,
    layers: Sequence[Layer],
    removed: Mapping[str, Bool[Tensor, " _o"]],
    tied: Sequence[Coupling],
) -> dict[str, Bool[Tensor, "..."]]:
    """`dead_inputs` by the removed rows of each layer, True = removed."""
    several = [layer for layer in layers if _has_several_owners(model, layer)]
    shared = {name for layer in several for name in _names(layer)}
    shapes = {name: p.shape for name, p in model.named_parameters() if name not in shared}
    channels = [
        removed_channels(coupling, removed) & (coupling.reason is None) for coupling in tied
    ]
    return {name: ~places for name, places in readers_of_removed(tied, channels, shapes).items()}


def kept_outputs(
    layers: Sequence[Layer], removed: Mapping[str, Bool[Tensor, " _o"]], tied: Sequence[Coupling]
) -> dict[str, int]:
    """How many outputs each layer has without the channels that all their members have lost.

    At least one, as `thin` leaves. removed: by layer, True = removed. Layers of attention heads are
    left out.
    """
    lost = {
        layer.name: torch.zeros(layer.shape[0], dtype=torch.bool)
        for layer in layers
        if layer.heads < 2
    }
    for coupling in tied:
        channels = removed_channels(coupling, removed)
        for member in coupling.members if coupling.reason is None else ():
            if member.parameter in lost:
                lost[member.parameter][member.positions[channels[member.channels]]] = True
    return {name: max(1, len(rows) - int(rows.sum())) for name, rows in lost.items()}


def readers_of_removed(
    tied: Sequence[Coupling],
    removed: Sequence[Bool[Tensor, " _c"]],
    shapes: Mapping[str, torch.Size],
) -> dict[str, Bool[Tensor, "..."]]:
    """The weights that only read removed channels: parameter name -> True = such a weight.

    removed: the channels of each coupling, True = removed; shapes: of the parameters that count.
    """
    dead: dict[str, Tensor] = {}
    alive: dict[str, Tensor] = {}
    for coupling, channels in zip(tied, removed, strict=True):
        for reader in coupling.reads:
            if reader.parameter not in shapes:
                continue
            is_removed = channels[reader.channels]
            for places, positions in (
                (dead, reader.positions[is_removed]),
                (alive, reader.positions[~is_removed]),
            ):
                blank = torch.zeros(shapes[reader.parameter], dtype=torch.bool)
                rows = places.setdefault(reader.parameter, blank)[slice(*(reader.rows or (None,)))]
                rows.index_fill_(reader.axis, positions, True)
    only = {name: places & ~alive[name] for name, places in dead.items()}
    return {name: places for name, places in only.items() if places.any()}


def _names(layer: Layer) -> tuple[str, ...]:
    return (layer.name, *layer.aliases)


def _has_several_owners(model: nn.Module, layer: Layer) -> bool:
    """Do several modules hold the weight? One module under several names is a single owner."""
    paths = [name.rpartition(".") for name in _names(layer)]
    return len({(id(model.get_submodule(path)), last) for path, _, last in paths}) > 1


def is_exact(
    layers: Sequence[Layer], masks: GivenMasks, tied: Sequence[Coupling], *, heads: bool
) -> bool:
    """Does `dead_inputs` name all weights that a network without the removed outputs would lack?

    It does not where an output is removed whose coupling has a reason, nor where the network did
    not read one of its weights: for other inputs, that weight may read removed outputs.
    heads: whole attention heads are removed, whose readers the masks name themselves.
    """
    allowed = {None, IS_OUTPUT, *((HEAD_ROWS,) if heads else ())}
    refused = {
        name for coupling in tied if coupling.reason not in allowed for name in coupling.layers
    }
    removed = {
        name: rows
        for name, rows in removed_rows(checked_masks(masks, layers)).items()
        if rows.any()
    }
    unread = {name for coupling in tied if coupling.reason == NOT_READ for name in coupling.layers}
    return not removed or not (unread or refused & removed.keys())


def removed_rows(masks: Masks) -> dict[str, Bool[Tensor, " o"]]:
    """For each layer the output rows without any kept weight, on the CPU."""
    return {name: ~mask.flatten(1).any(1).cpu() for name, mask in masks.items()}


def removed_channels(coupling: Coupling, removed: Mapping[str, Tensor]) -> Bool[Tensor, " c"]:
    """The channels that all members have lost."""
    lost = torch.ones(coupling.channels, dtype=torch.bool)
    for member in coupling.members:
        if member.parameter in removed:
            kept = member.channels[~removed[member.parameter][member.positions]]
        else:
            kept = member.channels
        lost[kept] = False
    return lost


def _own_vectors(
    layers: Sequence[Layer], removed: Mapping[str, Tensor], parameters: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Biases and norms of the layers' rows: True where all layers that use a place lost it.

    A vector with several names is used by the layers of all its names.
    """
    lost: dict[str, list[Tensor]] = defaultdict(list)
    by_parameter: dict[int, list[Tensor]] = defaultdict(list)
    for layer in layers:
        rows = removed.get(layer.name, torch.zeros(layer.shape[0], dtype=torch.bool))
        for name, start in _vector_starts(layer):
            if name in parameters:
                places = torch.zeros(len(parameters[name]), dtype=torch.bool)
                places[start : start + len(rows)] = rows
                lost[name].append(places)
                by_parameter[id(parameters[name])].append(places)
    return {
        name: torch.stack(by_parameter[id(parameters[name])]).all(0)
        for name, places in lost.items()
        if any(part.any() for part in places)
    }


def _vector_starts(layer: Layer) -> Iterator[tuple[str, int]]:
    """The vectors that belong to the layer's rows alone, and where in them the rows start."""
    for name in _names(layer):
        path, _, last = name.rpartition(".")
        prefix = f"{path}." if path else ""
        if last in SEPARATE:
            yield f"{prefix}in_proj_bias", SEPARATE.index(last) * layer.shape[0]
        else:
            yield prefix + last.removesuffix("weight") + "bias", 0
    if layer.bn is not None:
        yield f"{layer.bn}.weight", 0
        yield f"{layer.bn}.bias", 0
