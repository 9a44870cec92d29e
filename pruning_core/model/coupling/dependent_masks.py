"""What else goes with a removed filter: biases, norms' scale and shift, position tables; weights
that only read it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from pruning_core.model.coupling.positions import Coupling
from pruning_core.model.inventory import SEPARATE
from pruning_core.types import Layer, Masks, PruningError


def couplings_for(
    known: tuple[tuple[Coupling, ...], str | None],
    removes_outputs: bool,
    *,
    tied: bool,
    instead: str | None = None,
) -> tuple[Coupling, ...]:
    """The couplings that a granularity needs: all known ones if it removes outputs, else none.

    known: the couplings, or why there are none to know (`Workspace.tied`). tied: their layers are
    to be cut as one. Raises PruningError with that reason, and what to do instead, where this
    cannot be.
    """
    found, unknown = known if removes_outputs else ((), None)
    if tied and unknown:
        raise PruningError(" ".join(filter(None, (unknown, instead))))
    return found


def dependent_masks(
    model: nn.Module, layers: tuple[Layer, ...], masks: Masks, tied: Sequence[Coupling] = ()
) -> dict[str, Bool[Tensor, "..."]]:
    """What must be zero besides the weights so that a removed filter is silent: parameter name ->
    True = keep, in its own shape.

    A layer's own bias, and the scale and shift of the batch norm that it alone feeds; of couplings,
    whatever follows a channel that every member has lost. Only a row without any kept weight counts
    as removed.
    """
    gone = {name: ~mask.flatten(1).any(1).cpu() for name, mask in masks.items()}
    own: dict[str, list[Tensor]] = defaultdict(list)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for layer in layers:
        rows = gone.get(layer.name, torch.zeros(layer.shape[0], dtype=torch.bool))
        for name, start in _own(layer):
            if name in parameters:
                lost = torch.zeros(len(parameters[name]), dtype=torch.bool)
                lost[start : start + len(rows)] = rows
                own[name].append(lost)
    found = {
        name: torch.stack(lost).all(0)
        for name, lost in own.items()
        if any(part.any() for part in lost)
    }
    for coupling in tied:
        dead = _dead(coupling, gone)
        for slot in coupling.follows if coupling.reason is None and dead.any() else ():
            lost = found.setdefault(
                slot.name, torch.zeros(parameters[slot.name].shape, dtype=torch.bool)
            )
            lost.index_fill_(slot.axis, slot.at[dead[slot.channel]], True)
    return {name: ~lost for name, lost in found.items() if lost.any()}


def dead_inputs(
    model: nn.Module, layers: Sequence[Layer], masks: Masks, tied: Sequence[Coupling]
) -> dict[str, Bool[Tensor, "..."]]:
    """The weights that only read channels that every member has lost: parameter name -> False =
    such a one, in its own shape.

    They change nothing, and a network made narrower does not have them (torch-pruning's thinning,
    Fang et al. 2023, arXiv:2301.12900). A place that several couplings are read by counts once all
    of them are gone; tied weights are left out.
    """
    gone = {name: ~mask.flatten(1).any(1).cpu() for name, mask in masks.items()}
    several = {name for layer in layers if layer.aliases for name in (layer.name, *layer.aliases)}
    parameters = {name: value for name, value in model.named_parameters() if name not in several}
    heard: dict[str, Tensor] = {}
    lost: dict[str, Tensor] = {}
    for coupling in tied:
        dead = (
            _dead(coupling, gone)
            if coupling.reason is None
            else torch.zeros(coupling.channels, dtype=torch.bool)
        )
        for slot in coupling.reads:
            if slot.name in parameters:
                for found, at in (
                    (lost, slot.at[dead[slot.channel]]),
                    (heard, slot.at[~dead[slot.channel]]),
                ):
                    blank = torch.zeros(parameters[slot.name].shape, dtype=torch.bool)
                    found.setdefault(slot.name, blank)[slice(*(slot.rows or (None,)))].index_fill_(
                        slot.axis, at, True
                    )
    return {name: ~found | heard[name] for name, found in lost.items() if found.any()}


def _own(layer: Layer) -> Iterator[tuple[str, int]]:
    """The vectors that belong to the layer's rows alone, and where in them the rows start."""
    for name in (layer.name, *layer.aliases):
        path, _, last = name.rpartition(".")
        prefix = f"{path}." if path else ""
        start = SEPARATE.index(last) * layer.shape[0] if last in SEPARATE else 0
        yield (
            prefix + ("in_proj_bias" if last in SEPARATE else last.removesuffix("weight") + "bias"),
            start,
        )
    if layer.bn is not None:
        yield f"{layer.bn}.weight", 0
        yield f"{layer.bn}.bias", 0


def _dead(coupling: Coupling, gone: Mapping[str, Tensor]) -> Bool[Tensor, " c"]:
    """The channels that every member has lost."""
    dead = torch.ones(coupling.channels, dtype=torch.bool)
    for slot in coupling.members:
        lost = (
            gone[slot.name][slot.at]
            if slot.name in gone
            else torch.zeros(len(slot.at), dtype=torch.bool)
        )
        dead[slot.channel[~lost]] = False
    return dead
