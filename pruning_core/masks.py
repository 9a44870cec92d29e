"""From scores and ratios to masks: exact counts by rank, stable ties, whole groups."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pruning_core.criteria.pooling import POOLS
from pruning_core.granularity import Granularity, from_groups, supports, to_groups
from pruning_core.last_results import LastResults
from pruning_core.model.mask_forms import removed_places
from pruning_core.model.model_io import copy_model
from pruning_core.model.precision import HALVES
from pruning_core.ranking import kth_smallest
from pruning_core.tied_layers import tied_parts
from pruning_core.types import (
    GivenMasks,
    GroupScores,
    Layer,
    Masks,
    ParameterMasks,
    PruningError,
    Ratios,
    Scores,
)

Model = TypeVar("Model", bound=nn.Module)


def group_scores(
    scores: Scores, layers: tuple[Layer, ...], g: Granularity, pool: str
) -> GroupScores:
    """One score per group, scope x group, for the layers that g supports.

    pool: a name in `POOLS`. The score of an attention head is that of all its weights, the same in
    each of the layers that hold them (`tied_parts`). Raises PruningError for scores not finite.
    """
    supported = [layer for layer in layers if supports(g, layer) is None]
    pooled: GroupScores = {}
    for part in tied_parts(supported, g):
        elements = [to_groups(_finite(scores, layer), g, layer) for layer in part]
        together = torch.cat(elements, -1) if len(elements) > 1 else elements[0]
        pooled |= dict.fromkeys([layer.name for layer in part], POOLS[pool](together))
    return {layer.name: pooled[layer.name] for layer in supported}


def mean_group_scores(
    parts: Iterable[Scores], layers: tuple[Layer, ...], g: Granularity, pool: str
) -> GroupScores:
    """The mean of the group scores of one or more parts (`criteria.scores_by_part`)."""
    total: GroupScores = {}
    count = 0
    for scores in parts:
        groups = group_scores(scores, layers, g, pool)
        total = {name: total[name] + s for name, s in groups.items()} if count else groups
        count += 1
    return {name: s / count for name, s in total.items()} if count > 1 else total


def _finite(scores: Scores, layer: Layer) -> Tensor:
    values = scores[layer.name]
    if values.dtype in HALVES:
        values = values.float()
    # A NaN makes both extremes NaN. This is ten times as fast as a check of every score.
    low, high = values.aminmax()
    if not (low.isfinite() and high.isfinite()):
        bad = int((~values.isfinite()).sum())
        raise PruningError(
            f"{bad} of the scores of {layer.name} are NaN or infinite: its weights are broken; "
            "load the model again."
        )
    return values


def lowest(scores: Float[Tensor, "s g"], count: int) -> Bool[Tensor, "s g"]:
    """Marks the `count` lowest scores of every scope. True = among the lowest.

    Of equal scores the first are marked first, so a larger count marks all that a smaller one does.
    """
    if count == 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    values = as_array(scores)
    threshold, surplus = _threshold(values, count)
    marked = values <= threshold
    if surplus.any():
        tied = values == threshold
        wanted = np.count_nonzero(tied, axis=1, keepdims=True) - surplus
        marked &= ~(tied & (tied.cumsum(1, dtype=np.int32) > wanted))
    return torch.from_numpy(marked).to(scores.device)


def _threshold(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count`-th lowest score of every scope, and the surplus; both are scope x 1.

    The surplus is how many more than `count` scores are at or below the threshold.
    """
    if len(values) == 1:
        kth = kth_smallest([values[0]], count)
        surplus = kth.below[0] + kth.equal[0] - count
        return np.array([[kth.value]], values.dtype), np.array([[surplus]])
    scratch = values.copy()
    scratch.partition(count - 1, axis=1)
    threshold = scratch[:, count - 1 : count].copy()
    return threshold, np.count_nonzero(values <= threshold, axis=1, keepdims=True) - count


def as_array(scores: Float[Tensor, "s g"]) -> np.ndarray:
    """The scores as a numpy array, a view where possible.

    numpy's partition and comparisons are several times as fast as torch's.
    """
    values = scores.detach().cpu()
    return (values if values.dtype in (torch.float32, torch.float64) else values.float()).numpy()


def ranks(scores: Float[Tensor, "s g"]) -> Int[Tensor, "s g"]:
    """Each group's rank in its scope: 0 is removed first; equal scores rank in order.

    `lowest(scores, count)` is `ranks(scores) < count`.
    """
    order = scores.argsort(dim=1, stable=True)
    places = torch.arange(scores.shape[1], dtype=torch.int32).expand_as(order)
    return torch.empty_like(order, dtype=torch.int32).scatter_(1, order, places)


@dataclass(frozen=True, eq=False)
class RankedGroups:
    """One layer's groups, ranked and binned once. Any count then costs one comparison per group.

    ranks: see `ranks`. edges: of the bins of score. cumulative: scope x bin, the number of groups
    in this bin and the bins below it.
    """

    ranks: Int[Tensor, "s g"]
    edges: Float[Tensor, " b1"]
    cumulative: Int[Tensor, "s b"]

    def kept(self, count: int) -> Bool[Tensor, "s g"]:
        """What is kept if the `count` lowest of every scope are removed: `~lowest(...)`."""
        # numpy compares three times as fast as torch.
        return torch.from_numpy(self.ranks.numpy() >= count)

    def histogram(self, count: int) -> Int[Tensor, " b"]:
        """The number of kept groups per bin of score.

        The lowest groups are removed first, so no score has to be read again.
        """
        kept_up_to_bin = (self.cumulative - count).clamp_min(0).sum(0)
        return kept_up_to_bin.diff(prepend=torch.zeros(1, dtype=torch.long))


def rank_groups(scores: Float[Tensor, "s g"], bins: int = 60) -> RankedGroups:
    """Ranks and bins the groups.

    The bins have equal width from the lowest to the highest score; the last one is closed.
    """
    edges = torch.linspace(float(scores.min()), float(scores.max()), bins + 1, dtype=scores.dtype)
    bin_numbers = torch.bucketize(scores, edges[1:-1].contiguous(), right=True)
    scopes = scores.shape[0]
    numbered = (bin_numbers + bins * torch.arange(scopes)[:, None]).flatten()
    counts = torch.bincount(numbered, minlength=scopes * bins)
    return RankedGroups(ranks(scores), edges, counts.view(scopes, bins).cumsum(1))


def apply_hand_edits(
    kept: Bool[Tensor, "s g"],
    scores: Float[Tensor, "s g"],
    edits: Iterable[tuple[int, int, bool]],
    *,
    allow_collapse: bool = False,
) -> Bool[Tensor, "s g"]:
    """True = kept after the hand edits, each of them (scope, group, keep?).

    A scope that the edits would empty keeps its group with the highest score, unless
    `allow_collapse`. Raises PruningError for a group that the layer does not have.
    """
    changed = kept.clone()
    scopes, groups = kept.shape
    for scope, group, keep in edits:
        if not (0 <= scope < scopes and 0 <= group < groups):
            raise PruningError(
                f"Group {group} of scope {scope} does not exist: "
                f"the layer has {scopes} scopes of {groups} groups."
            )
        changed[scope, group] = keep
    emptied = kept.any(1) & ~changed.any(1)
    if not allow_collapse and bool(emptied.any()):
        # Of equal scores the last is removed last, so the row is read backwards.
        best = scores[emptied].numpy()[:, ::-1].argmax(1)
        changed[emptied.nonzero()[:, 0], groups - 1 - torch.from_numpy(best)] = True
    return changed


def n_removed(g: Granularity, ratio: float, groups: int, *, allow_collapse: bool = False) -> int:
    """How many of a scope's groups are removed at that ratio: round(ratio x groups).

    N:M removes M - N at any ratio above 0. At least one group is kept unless `allow_collapse`.
    Raises PruningError for a ratio outside [0, 1].
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
    last: LastResults | None = None,
) -> Masks:
    """Masks that remove the round(ratio x groups) lowest groups of every scope. True = keep, OIHW.

    A layer without a ratio gets no mask. At least one group of every scope is kept unless
    `allow_collapse`. last: gives the masks of layers whose scores and counts have not changed;
    large ones are computed again.
    Raises PruningError for a ratio outside [0, 1], and for a layer that g does not support.
    """
    known = {layer.name: layer for layer in layers}
    results = last or LastResults()
    masks = {}
    for name, ratio in ratios.items():
        if name not in groups:
            raise PruningError(f"There is no layer '{name}' that can be pruned by {g.label}.")
        count = n_removed(g, ratio, groups[name].shape[1], allow_collapse=allow_collapse)
        sources = (groups[name], g, known[name], count)
        mask = partial(_mask, *sources)
        masks[name] = results.get(("mask", name), sources, mask, groups[name].numel())
    return masks


def _mask(
    scores: Float[Tensor, "s g"], g: Granularity, layer: Layer, count: int
) -> Bool[Tensor, "o i h w"]:
    return from_groups(lowest(scores, count).logical_not_(), g, layer)


def intersect(first: ParameterMasks, second: ParameterMasks) -> dict[str, Bool[Tensor, "..."]]:
    """Keeps what both masks keep. A layer that only one of them masks has that mask."""
    return {**first} | {
        name: first[name] & mask if name in first else mask for name, mask in second.items()
    }


def kept_groups(
    masks: Masks, layers: tuple[Layer, ...], g: Granularity
) -> dict[str, Bool[Tensor, "_s _g"]]:
    """Which groups have a weight that is kept, by the names of the masked layers: scope x group.

    Layers that lose the same groups (`tied_parts`) have lost one where all of them have.
    """
    kept: dict[str, Tensor] = {}
    supported = [layer for layer in layers if supports(g, layer) is None]
    for part in tied_parts(supported, g):
        if all(layer.name in masks for layer in part):
            own = [to_groups(masks[layer.name], g, layer).any(-1) for layer in part]
            kept |= dict.fromkeys([layer.name for layer in part], torch.stack(own).any(0))
    return kept


def exclude_removed(
    groups: GroupScores, masks: Masks, layers: tuple[Layer, ...], g: Granularity
) -> GroupScores:
    """The scores, with every group that the masks remove at -inf: it is removed first again."""
    if not masks:
        return groups
    scored = tuple(layer for layer in layers if layer.name in groups)
    removed = {
        name: groups[name].masked_fill(~kept, -torch.inf)
        for name, kept in kept_groups(masks, scored, g).items()
    }
    return groups | removed


def achieved(masks: Masks) -> dict[str, float]:
    """The fraction of each layer's weights that its mask removes."""
    return {name: 1 - mask.sum().item() / mask.numel() for name, mask in masks.items()}


def masked_tensors(
    model: nn.Module,
    masks: GivenMasks,
    layers: tuple[Layer, ...],
    dependent: GivenMasks | None = None,
) -> dict[str, Tensor]:
    """The masked parameters by name, with the removed weights at zero: all that `apply_masks`
    changes, without a copy of the model. Arguments and errors as there.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    tensors: dict[str, Tensor] = {}
    for parameter, removed in removed_places(model, masks, layers, dependent):
        name = names[id(parameter)]
        tensors[name] = tensors.get(name, parameter.detach()).masked_fill(removed, 0)
    return tensors


def apply_masks(
    model: Model,
    masks: GivenMasks,
    layers: tuple[Layer, ...],
    dependent: GivenMasks | None = None,
) -> Model:
    """A copy of the model with the removed weights at zero. The model itself never changes.

    dependent: masks of other parameters, by name, in the parameter's own shape, True = keep
    (`dependent_masks`). Raises PruningError as `checked_masks`.
    """
    copy = copy_model(model)
    with torch.no_grad():
        for parameter, removed in removed_places(copy, masks, layers, dependent):
            parameter.masked_fill_(removed, 0)
    return copy
