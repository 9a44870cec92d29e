"""A pruned network without its removed channels and heads: physically smaller, same outputs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import nn

from pruning_core.compress.narrow import Kept, Settings
from pruning_core.compress.thin_network import Narrowed, narrowed, outputs, relative_error
from pruning_core.compress.thin_parts import Parts, removable_parts
from pruning_core.model.coupling.dependent_masks import removed_channels, removed_rows
from pruning_core.model.inventory import inventory, weights
from pruning_core.model.inventory.views import outputs_first, view_shape
from pruning_core.model.kept_norms import ALL, KEPT, with_kept_norms
from pruning_core.model.mask_forms import checked_masks
from pruning_core.model.model_io import tensor_bytes
from pruning_core.pipeline import choose_masks
from pruning_core.plan import Plan
from pruning_core.resolved_plan import ResolvedPlan
from pruning_core.types import GivenMasks, Inputs, Layer, Masks, PruningError
from pruning_core.workspaces import Workspace, batch_of

SAMPLES = 4
"""Validation samples on which the thinned network is compared with the masked one."""


@dataclass(frozen=True)
class Width:
    """Outputs and inputs of one layer, before and after."""

    layer: str
    out: tuple[int, int]
    into: tuple[int, int]

    @property
    def changed(self) -> bool:
        """Is the layer narrower now?"""
        return len(set(self.out)) > 1 or len(set(self.into)) > 1


@dataclass(frozen=True, eq=False)
class Thinned:
    """The result of `thin`.

    module: the smaller network, in eval mode; masks: after `round_to`; kept: the kept positions of
    each parameter and buffer that is smaller, by axis; settings: other attributes that changed, by
    path; attentions: paths of the modules that became `NarrowAttention`.
    widths: of every layer; parameters, macs, bytes: before and after, counted on the two networks
    (bytes: of parameters and buffers, each once);
    error: the largest difference from the masked network's outputs, relative to the largest.
    refused: sentences on layers that stay as wide as before; notes: on what else to know.
    """

    module: nn.Module
    masks: Masks
    kept: Kept
    settings: Settings
    attentions: tuple[str, ...]
    widths: tuple[Width, ...]
    parameters: tuple[int, int]
    macs: tuple[int, int]
    bytes: tuple[int, int]
    error: float
    refused: tuple[str, ...]
    notes: tuple[str, ...]
    samples: Inputs


def thin(
    plan: Plan,
    space: Workspace,
    masks: GivenMasks | None = None,
    model: nn.Module | None = None,
    *,
    round_to: int | None = None,
    accept_norms: bool = False,
) -> Thinned:
    """The pruned network without its removed channels and heads.

    masks: default those of the plan. model: trained with the masks; default: the base model, pruned
    and repaired as the plan says. The result is compared with the masked network on validation
    samples: relative error at most 1e-5. What cannot be made narrower stays as it is, with a
    sentence. round_to: keep more channels, so that as many are a multiple of it: those with the
    largest L2 norm come back. accept_norms: norms over channels may average over the kept ones
    alone, which changes the outputs of a plan whose norms average over all.
    Raises PruningError where nothing can be removed, and where the couplings are not known.

    >>> from pruning_core import Plan, open_workspace, thin
    >>> plan = Plan(model="lenet5", dataset="digits", granularity="filter", sparsity=0.5)
    >>> thinned = thin(plan, open_workspace(plan.model, plan.dataset))
    >>> [width.out for width in thinned.widths]
    [(6, 3), (16, 8), (120, 60), (84, 42), (10, 10)]
    """
    resolved = plan.resolve(space)
    if masks is None:
        _, masks = choose_masks(plan, space)
    removing = checked_masks(masks, space.layers)
    removing = removing if round_to is None else rounded(removing, resolved.space, round_to)
    samples = batch_of(space, min(SAMPLES, len(space.dataset.val)))
    masked = _masked(resolved, removing, model)
    if not accept_norms or plan.norms != ALL:
        return _thinned(resolved.space, masked, removing, samples)
    kept = replace(plan, norms=KEPT).resolve(space)
    trained = None if model is None else with_kept_norms(model, space.one)
    thinned = _thinned(kept.space, _masked(kept, removing, trained), removing, samples)
    difference = relative_error(outputs(thinned.module, samples), outputs(masked, samples))
    return replace(thinned, notes=(*thinned.notes, _accepted(difference)))


def _accepted(difference: float) -> str:
    return (
        "Its norms average over kept channels alone, so that its outputs differ from those of the "
        f"plan's masked network by up to {difference:.1%} of the largest."
    )


def thin_refusals(plan: Plan, space: Workspace, masks: GivenMasks) -> tuple[str, ...]:
    """Why `thin` will leave layers as wide as they are, as far as it is known before.

    Raises PruningError where nothing can be removed, and where the couplings are not known.
    """
    resolved = plan.resolve(space)
    removing = checked_masks(masks, space.layers)
    return _parts(resolved.space, resolved.masked_copy(removing), removing).refused


def _masked(resolved: ResolvedPlan, masks: Masks, model: nn.Module | None) -> nn.Module:
    return resolved.pruned_copy(masks) if model is None else resolved.masked_copy(masks, model)


def _thinned(space: Workspace, masked: nn.Module, masks: Masks, samples: Inputs) -> Thinned:
    """`thin` of a network that is masked already. masked: of the workspace, in eval mode."""
    parts = _parts(space, masked, masks)
    made = narrowed(masked, space.layers, space.tied[0], parts, samples)
    seen = {layer.name: layer for layer in inventory(made.module, space.one)}
    narrow = {layer.name: seen.get(layer.name) or _by_size(layer, made) for layer in space.layers}
    return Thinned(
        module=made.module,
        masks=masks,
        kept=made.kept,
        settings=made.settings,
        attentions=made.attentions,
        widths=tuple(_width(layer, narrow[layer.name]) for layer in space.layers),
        parameters=(_parameters(space.model), _parameters(made.module)),
        macs=(_macs(space.layers), _macs(tuple(narrow.values()))),
        bytes=(tensor_bytes(space.model), tensor_bytes(made.module)),
        error=made.error,
        refused=made.refused,
        notes=parts.notes,
        samples=samples,
    )


def _by_size(layer: Layer, made: Narrowed) -> Layer:
    """The layer in the narrower network, where no product shows its reads, as of a width of 1."""
    size = tuple(made.module.get_parameter(layer.name).shape)
    shape = view_shape(layer.layout, size, layer.groups) if layer.layout else outputs_first(size)
    return replace(
        layer, shape=shape, param_shape=size, macs=layer.macs * prod(size) // layer.numel
    )


def _parts(space: Workspace, masked: nn.Module, masks: Masks) -> Parts:
    """What can be removed. masked: with these masks."""
    couplings, unknown = space.tied
    if unknown:
        raise PruningError(f"The network cannot be made narrower. {unknown}")
    parts = removable_parts(masked, space.layers, masks, couplings)
    if not (parts.parts or parts.refused):
        raise PruningError(_nothing_removed(masks))
    return parts


def _nothing_removed(masks: Masks) -> str:
    """Why masks remove no part of a network."""
    if any(rows.any() for rows in removed_rows(masks).values()):
        return (
            "Nothing can be made narrower: the masks remove filters, but no channel as a whole. "
            "Tied layers must lose the same channels, and all groups of a grouped convolution as "
            "many."
        )
    return (
        "Nothing can be made narrower: the masks remove no whole channel and no whole head. "
        "Prune by filter, channel or head."
    )


def rounded(masks: Masks, space: Workspace, multiple: int) -> Masks:
    """Masks that keep more channels of each coupling, so that `multiple` divides their number.

    The removed channels whose weights in the base model have the largest L2 norm come back. All
    channels stay where the next multiple is above their number. Raises PruningError for a multiple
    below 2.
    """
    if multiple < 2:
        raise PruningError(f"Widths cannot be rounded to multiples of {multiple}: give 8 or 16.")
    made = dict(masks)
    norms = {
        name: weight.flatten(1).norm(dim=1)
        for name, weight in weights(space.model, space.layers).items()
    }
    for coupling in space.tied[0]:
        removed = removed_channels(coupling, removed_rows(made))
        kept = coupling.channels - int(removed.sum())
        more = min(coupling.channels, -(-kept // multiple) * multiple) - kept
        if coupling.reason is None and more:
            square = torch.zeros(coupling.channels)
            for place in coupling.members:
                square.index_add_(0, place.channels, norms[place.parameter][place.positions] ** 2)
            back = square.masked_fill(~removed, -1).argsort(descending=True, stable=True)[:more]
            chosen = torch.zeros(coupling.channels, dtype=torch.bool).index_fill_(0, back, True)
            for place in coupling.members:
                if place.parameter in made:
                    rows = place.positions[chosen[place.channels]]
                    made[place.parameter] = made[place.parameter].clone().index_fill_(0, rows, True)
    return made


def _width(before: Layer, after: Layer) -> Width:
    out = (before.shape[0], after.shape[0])
    into = (before.shape[1] * before.groups, after.shape[1] * after.groups)
    return Width(before.name, out, into)


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _macs(layers: Sequence[Layer]) -> int:
    return sum(layer.macs for layer in layers)
