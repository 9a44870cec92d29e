"""Where pruning starts: from all weights, or from a network that is sparse already.

With the start `zeros`, the weights that are zero count as removed: they are removed in every mask,
whatever criterion and flow choose, stay zero in every training, and count in the target.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from pruning_core.granularity import Granularity
from pruning_core.masks import kept_groups
from pruning_core.model.inventory import weights
from pruning_core.types import GroupScores, Layer, Masks, Ratios

DENSE = "dense"
ZEROS = "zeros"
STARTS = {
    DENSE: "All weights compete, also those that are zero; training may change them.",
    ZEROS: "Weights that are zero already count as removed and stay zero.",
}
"""The names of a start, and what each does."""


def zeros_of(model: nn.Module, layers: tuple[Layer, ...]) -> Masks:
    """Masks that remove the weights that are exactly zero, for the layers that have any."""
    masks = {name: weight != 0 for name, weight in weights(model, layers).items()}
    return {name: mask for name, mask in masks.items() if not mask.all()}


def removed_first(
    groups: GroupScores, start: Masks, layers: tuple[Layer, ...], g: Granularity
) -> GroupScores:
    """The scores, with the groups that the start removes below all others of their layer.

    The scores stay finite, for pictures and curves. Scores that are in this order stay as they are.
    """
    changed = dict(groups)
    for name, kept in kept_groups(start, layers, g).items():
        if name in groups and not kept.all():
            changed[name] = _below(groups[name], kept)
    return changed


def _below(scores: Tensor, kept: Bool[Tensor, "s g"]) -> Tensor:
    """The scores, with those that are not kept a sixtieth of the range below the lowest kept."""
    if not kept.any() or scores[~kept].max() < scores[kept].min():
        return scores
    low, high = scores[kept].aminmax()
    # Without a range, any number below serves.
    step = (high - low) / 60 if high > low else 1 + low.abs()
    return scores.masked_fill(~kept, torch.nextafter(low - step, low.new_tensor(-torch.inf)))


def at_least_removed(ratios: Ratios, groups: GroupScores) -> Ratios:
    """The ratios, raised where more is removed already. groups: -inf where a group is removed.

    In a layer with several scopes, the scope with the fewest removed groups counts.
    """
    raised = dict(ratios)
    for name, ratio in ratios.items():
        removed = groups[name].isneginf()
        raised[name] = max(ratio, int(removed.sum(1).min()) / removed.shape[1])
    return raised


def start_sparsity(start: Masks, layers: Sequence[Layer]) -> float:
    """The fraction of all weights of these layers that the start removes."""
    removed = sum(int((~start[layer.name]).sum()) for layer in layers if layer.name in start)
    return removed / max(1, sum(layer.numel for layer in layers))
