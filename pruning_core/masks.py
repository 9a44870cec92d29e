"""From scores and ratios to masks: exact counts by rank, stable ties, whole groups."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pruning_core.criteria.pooling import POOLS
from pruning_core.granularity import Granularity, from_groups, supports, to_groups
from pruning_core.ranking import kth_smallest
from pruning_core.tied_layers import tied_parts
from pruning_core.types import GroupScores, Layer, Masks, PruningError, Ratios, Scores

Model = TypeVar("Model", bound=nn.Module)


def group_scores(
    scores: Scores, layers: tuple[Layer, ...], g: Granularity, pool: str
) -> GroupScores:
    """One score per group, scope x group, for the layers that g supports. Raises PruningError for
    scores not finite.

    A head's score is that of all its weights, in each of the layers that hold them
    (`coupling.tied_parts`).
    """
    taken = [layer for layer in layers if supports(g, layer) is None]
    found: GroupScores = {}
    for part in tied_parts(taken, g):
        groups = [to_groups(_finite(scores, layer), g, layer) for layer in part]
        found |= dict.fromkeys(
            [layer.name for layer in part],
            POOLS[pool](torch.cat(groups, -1) if groups[1:] else groups[0]),
        )
    return {layer.name: found[layer.name] for layer in taken}


def _finite(scores: Scores, layer: Layer) -> Tensor:
    found = scores[layer.name]
    low, high = found.aminmax()  # NaN is both; ten times as fast as asking every score
    if not (low.isfinite() and high.isfinite()):
        bad = int((~found.isfinite()).sum())
        raise PruningError(
            f"{bad} of the scores of {layer.name} are NaN or infinite: its weights are broken; load the model again."
        )
    return found


def lowest(scores: Float[Tensor, "s g"], count: int) -> Bool[Tensor, "s g"]:
    """Marks the `count` lowest scores of every scope; of equal ones the first go first, so that
    marks are nested in count.
    """
    if count == 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    values = as_array(scores)
    threshold, over = _cut(values, count)
    marked = values <= threshold
    if over.any():
        tied = values == threshold
        marked &= ~(
            tied
            & (
                tied.cumsum(1, dtype=np.int32)
                > np.count_nonzero(tied, axis=1, keepdims=True) - over
            )
        )
    return torch.from_numpy(marked).to(scores.device)


def _cut(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count`-th lowest score of every scope, scope x 1, and how many more than `count` are not
    above it.
    """
    if len(values) == 1:
        found = kth_smallest([values[0]], count)
        return np.array([[found.value]], values.dtype), np.array(
            [[found.below[0] + found.equal[0] - count]]
        )
    scratch = values.copy()
    scratch.partition(count - 1, axis=1)
    threshold = scratch[:, count - 1 : count].copy()
    return threshold, np.count_nonzero(values <= threshold, axis=1, keepdims=True) - count


def as_array(scores: Float[Tensor, "s g"]) -> np.ndarray:
    """The scores for numpy, whose partition and comparisons are several times as fast as torch's; a
    view where possible.
    """
    values = scores.detach().cpu()
    return (values if values.dtype in (torch.float32, torch.float64) else values.float()).numpy()


def ranks(scores: Float[Tensor, "s g"]) -> Int[Tensor, "s g"]:
    """Each group's place in its scope, 0 = goes first, ties in order: `lowest(scores, count)` is
    `ranks(scores) < count`.
    """
    order = scores.argsort(dim=1, stable=True)
    places = torch.arange(scores.shape[1], dtype=torch.int32).expand_as(order)
    return torch.empty_like(order, dtype=torch.int32).scatter_(1, order, places)


@dataclass(frozen=True, eq=False)
class RankedGroups:
    """One layer's groups ranked and binned once; each count after that costs one comparison per group.

    places: `ranks`; edges: of the bins of score; binned: groups per scope and bin, summed up over
    the bins.
    """

    places: Int[Tensor, "s g"]
    edges: Float[Tensor, " b1"]
    binned: Int[Tensor, "s b"]

    def kept(self, count: int) -> Bool[Tensor, "s g"]:
        """What stays when the `count` lowest of every scope go: `~lowest(scores, count)`."""
        return torch.from_numpy(
            self.places.numpy() >= count
        )  # three times as fast as torch's comparison

    def histogram(self, count: int) -> Int[Tensor, " b"]:
        """The groups that stay, per bin of score: the lowest go first, so no score is read again."""
        return (
            (self.binned - count).clamp_min(0).sum(0).diff(prepend=torch.zeros(1, dtype=torch.long))
        )


def rank_groups(scores: Float[Tensor, "s g"], bins: int = 60) -> RankedGroups:
    """Ranks and bins the groups; bins of equal width from the lowest to the highest score, the last
    one closed.
    """
    edges = torch.linspace(float(scores.min()), float(scores.max()), bins + 1, dtype=scores.dtype)
    places = torch.bucketize(scores, edges[1:-1].contiguous(), right=True)
    scopes = scores.shape[0]
    counted = torch.bincount(
        (places + bins * torch.arange(scopes)[:, None]).flatten(), minlength=scopes * bins
    )
    return RankedGroups(ranks(scores), edges, counted.view(scopes, bins).cumsum(1))


def apply_hand_edits(
    kept: Bool[Tensor, "s g"],
    scores: Float[Tensor, "s g"],
    edits: Iterable[tuple[int, int, bool]],
    *,
    allow_collapse: bool = False,
) -> Bool[Tensor, "s g"]:
    """What is kept after hand edits (scope, group, keep?).

    A scope that edits leave empty keeps the group that would go last, unless `allow_collapse`.
    Raises PruningError for a group that is not there.
    """
    changed = kept.clone()
    (scopes, groups) = kept.shape
    for scope, group, keep in edits:
        if not (0 <= scope < scopes and 0 <= group < groups):
            raise PruningError(
                f"Group {group} of scope {scope} is not there: the layer has {scopes} scopes of {groups} groups."
            )
        changed[scope, group] = keep
    emptied = kept.any(1) & ~changed.any(1)
    if not allow_collapse and bool(emptied.any()):
        best = scores[emptied].numpy()[:, ::-1].argmax(1)  # of equal ones the last goes last
        changed[emptied.nonzero()[:, 0], groups - 1 - torch.from_numpy(best)] = True
    return changed


def n_removed(g: Granularity, ratio: float, groups: int, *, allow_collapse: bool = False) -> int:
    """How many of a scope's groups go at that ratio: round(ratio x groups), N:M by its own count,
    at least one group kept.
    """
    if not 0 <= ratio <= 1:
        raise PruningError(f"A ratio of {ratio} is outside [0, 1].")
    if g.n_kept is not None:
        return 0 if ratio == 0 else groups - g.n_kept
    return min(round(ratio * groups), groups if allow_collapse else groups - 1)


def select(
    groups: GroupScores,
    layers: tuple[Layer, ...],
    g: Granularity,
    ratios: Ratios,
    *,
    allow_collapse: bool = False,
) -> Masks:
    """Masks that remove, in every scope, the round(ratio x groups) groups of lowest score (True =
    keep, OIHW).

    A layer without a ratio is left out. At least one group stays in every scope unless
    `allow_collapse`. Raises PruningError for a ratio outside [0, 1] or for a layer that g cannot
    cut.
    """
    known = {layer.name: layer for layer in layers}
    masks = {}
    for name, ratio in ratios.items():
        if name not in groups:
            raise PruningError(f"There is no layer '{name}' that can be pruned by {g.label}.")
        count = n_removed(g, ratio, groups[name].shape[1], allow_collapse=allow_collapse)
        masks[name] = from_groups(lowest(groups[name], count).logical_not_(), g, known[name])
    return masks


def intersect(first: Masks, second: Masks) -> Masks:
    """Keeps what both keep; a layer that only one of them masks is masked by that one."""
    return first | {
        name: first[name] & mask if name in first else mask for name, mask in second.items()
    }


def exclude_removed(
    groups: GroupScores, masks: Masks, layers: tuple[Layer, ...], g: Granularity
) -> GroupScores:
    """The scores with every group that the masks already removed at -inf, so that it goes first and
    never returns.
    """
    both = (layer for layer in layers if layer.name in masks and layer.name in groups)
    kept = {layer.name: to_groups(masks[layer.name], g, layer).any(-1) for layer in both}
    return groups | {
        name: groups[name].masked_fill(~keep, -torch.inf) for name, keep in kept.items()
    }


def achieved(masks: Masks) -> dict[str, float]:
    """The share of each layer's weights that its mask removes."""
    return {name: 1 - mask.sum().item() / mask.numel() for name, mask in masks.items()}


def check_masks(masks: Mapping[str, Tensor], layers: tuple[Layer, ...]) -> None:
    """Raises PruningError where a mask names no layer, has another shape, or is not boolean."""
    shapes = {layer.name: layer.shape for layer in layers}
    for name, mask in masks.items():
        if name not in shapes:
            raise PruningError(f"The mask '{name}' belongs to no layer of this model.")
        if tuple(mask.shape) != shapes[name] or mask.dtype != torch.bool:
            raise PruningError(
                f"The mask of {name} is {tuple(mask.shape)} {mask.dtype}; the layer needs {shapes[name]} booleans."
            )


def apply_masks(
    model: Model,
    masks: Masks,
    layers: tuple[Layer, ...],
    silent: Mapping[str, Bool[Tensor, "..."]] | None = None,
) -> Model:
    """A copy of the model with the removed weights at zero; the model never changes. Raises
    PruningError as `check_masks`.

    silent: what else is at zero, by parameter name, True = keep, in its own shape
    (`coupling.dependent_masks`).
    """
    check_masks(masks, layers)
    copy = deepcopy(model)
    stored = {layer.name: layer.param_shape for layer in layers}
    with torch.no_grad():
        for name, mask in masks.items():
            parameter = copy.get_parameter(name)
            parameter.masked_fill_(~mask.reshape(stored[name]).to(parameter.device), 0)
        for name, keep in (silent or {}).items():
            parameter = copy.get_parameter(name)
            parameter.masked_fill_(~keep.to(parameter.device), 0)
    return copy
