"""How much of each layer is removed? Every allocation returns `Ratios`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pruning_core.masks import as_array
from pruning_core.ranking import kth_smallest
from pruning_core.registry import Described, Entry
from pruning_core.types import GroupScores, Layer, PruningError, Ratios

Allocate = Callable[[tuple[Layer, ...], GroupScores, float], Ratios]
LayerCount = Callable[[Layer], int]
"""What a layer contributes to the total, for example its number of weights."""
STARTING_ALLOCATIONS = ("uniform", "global", "lamp", "erk")
"""Names of the allocations that searches of ratios begin with: they need no measurement."""
OUTPUT_LAYER_KEEPS = 0.2
"""The fraction of the output layer that Uniform+ keeps (Gale et al. 2019, arXiv:1902.09574)."""


@runtime_checkable
class Allocation(Entry, Protocol):
    """(layers, group scores, sparsity) -> Ratios.

    sparsity: the fraction of all weights of these layers to remove.
    uses_target: the ratios depend on the sparsity. If not, the user sets every ratio.
    """

    @property
    def uses_target(self) -> bool: ...

    def __call__(
        self, layers: tuple[Layer, ...], groups: GroupScores, sparsity: float
    ) -> Ratios: ...


@dataclass(frozen=True)
class FunctionAllocation(Described):
    """An allocation made of one function (layers, group scores, sparsity) -> Ratios.

    >>> FunctionAllocation(uniform, label="Uniform", formula="r_l = s", source="2017").help
    'Every layer loses the same fraction.'
    """

    function: Allocate = field(repr=False)
    uses_target: bool = field(default=True, repr=False)

    def __call__(self, layers: tuple[Layer, ...], groups: GroupScores, sparsity: float) -> Ratios:
        return self.function(layers, groups, sparsity)


def uniform(layers: tuple[Layer, ...], groups: GroupScores, sparsity: float) -> Ratios:
    """Every layer loses the same fraction.

    r_l = s. Zhu and Gupta 2017, arXiv:1710.01878.
    """
    return {layer.name: sparsity for layer in layers}


def uniform_plus(layers: tuple[Layer, ...], groups: GroupScores, sparsity: float) -> Ratios:
    """Uniform, but the first convolution stays dense and the output layer keeps at least 20%.

    r_l = min(u, cap_l), with the one u that meets the total. Gale et al. 2019, arXiv:1902.09574.
    """
    caps = {layer.name: _cap(layer) for layer in layers}
    return fit_ratios(layers, sparsity, lambda u: {name: min(u, cap) for name, cap in caps.items()})


def _cap(layer: Layer) -> float:
    """The largest ratio that Uniform+ gives the layer."""
    if layer.is_first:
        return 0.0
    return 1 - OUTPUT_LAYER_KEEPS if layer.is_output else 1.0


def lamp(layers: tuple[Layer, ...], groups: GroupScores, sparsity: float) -> Ratios:
    """Global, after each score is divided by the scores of its layer that are not below it.

    Global ranking of s_u^2 / sum of the s_v^2 not below it in its layer (`lamp_scores`). The
    highest score of every layer is 1, so no layer is emptied. Lee et al. 2021, arXiv:2010.07611.
    """
    scores = {layer.name: lamp_scores(groups[layer.name]) for layer in layers}
    return rank_globally(layers, scores, sparsity)


def erk(layers: tuple[Layer, ...], groups: GroupScores, sparsity: float) -> Ratios:
    """Large layers lose more than small ones; only their dimensions count.

    Erdos-Renyi-Kernel: density in proportion to (sum of dimensions) / (their product), at most 1.
    Evci et al. 2020, arXiv:1911.11134.
    """
    raw = {layer.name: sum(layer.param_shape) / layer.numel for layer in layers}
    scale = 1 / min(raw.values(), default=1)

    def family(u: float) -> Ratios:
        return {name: 1.0 - min(1.0, (1 - u) * scale * density) for name, density in raw.items()}

    return fit_ratios(layers, sparsity, family)


def manual(layers: tuple[Layer, ...], groups: GroupScores, sparsity: float) -> Ratios:
    """Every layer stays dense until you set its ratio; the target sparsity has no effect."""
    return {layer.name: 0.0 for layer in layers}


def weight_count(layer: Layer) -> int:
    """Number of weights of a layer."""
    return layer.numel


def fit_ratios(
    layers: tuple[Layer, ...],
    sparsity: float,
    family: Callable[[float], Ratios],
    count: LayerCount = weight_count,
) -> Ratios:
    """The ratios of a family whose weighted total is the sparsity, or the family's largest total.

    family: level u in [0, 1] -> ratios that rise with u; u is bisected. Where the total jumps at a
    level, the ratios on both sides of the jump are mixed so that the total is met.
    """
    counts = _counts(layers, count)
    low = 0.0
    high = 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _total(counts, family(middle)) < sparsity:
            low = middle
        else:
            high = middle
    under = family(low)
    over = family(high)
    under_total = _total(counts, under)
    over_total = _total(counts, over)
    if over_total <= under_total or over_total <= sparsity:
        share = 1.0
    else:
        share = max(0.0, (sparsity - under_total) / (over_total - under_total))
    return {name: under[name] + share * (over[name] - under[name]) for name in over}


def total_ratio(
    layers: tuple[Layer, ...], ratios: Ratios, count: LayerCount = weight_count
) -> float:
    """The fraction of all weights of these layers, or of what `count` counts, that is removed."""
    return _total(_counts(layers, count), ratios)


def _counts(layers: tuple[Layer, ...], count: LayerCount) -> dict[str, int]:
    return {layer.name: count(layer) for layer in layers}


def _total(counts: Mapping[str, int], ratios: Ratios) -> float:
    total = sum(counts.values())
    return sum(n * ratios[name] for name, n in counts.items()) / total if total else 0.0


def lamp_scores(scores: Float[Tensor, "s g"]) -> Float[Tensor, "s g"]:
    """s_u^2 / (sum of s_v^2 over the v at or after u in ascending order), in float64.

    The largest of a layer is 1. A score below zero, whose removal helps (GraSP), stays below zero:
    -s_u^2 / (sum of s_v^2 over the negative ones). Groups at -inf, which are already removed, stay
    at -inf.
    """
    removed = scores.isneginf()
    flat = scores.double().masked_fill(removed, 0).flatten()
    ascending, order = flat.sort(stable=True)
    positive = ascending.clamp_min(0).square()
    negative = ascending.clamp_max(0).square()
    not_below = positive.flip(0).cumsum(0).flip(0)
    ranked = positive / _divisor(not_below) - negative / _divisor(negative.sum())
    restored = torch.empty_like(flat).scatter_(0, order, ranked).view(scores.shape)
    return restored.masked_fill(removed, -torch.inf)


def _divisor(total: Tensor) -> Tensor:
    """The total, or the smallest positive number in place of zero."""
    return total.clamp_min(torch.finfo(torch.float64).tiny)


def rank_globally(layers: tuple[Layer, ...], groups: GroupScores, sparsity: float) -> Ratios:
    """The groups of all layers compete in one ranking: the lowest scores are removed.

    Groups are removed until their weights are nearest to the sparsity. Every scope keeps its best
    group. Of equal scores the first are removed first. Where all groups have one size, the
    threshold is found by `ranking.kth_smallest`, and with it the counts per layer.
    See et al. 2016 (class-blind), arXiv:1606.09274; Frankle and Carbin 2019, arXiv:1803.03635.
    """
    if not layers:
        return {}
    scores = {layer.name: groups[layer.name] for layer in layers}
    sizes = {layer.name: layer.numel // scores[layer.name].numel() for layer in layers}
    goal = round(sparsity * sum(layer.numel for layer in layers))
    if len(set(sizes.values())) == 1:
        counts = _counts_of_equal_size(scores, round(goal / sizes[layers[0].name]))
    else:
        counts = _counts_by_size(scores, sizes, goal)
    return {name: count / scores[name].numel() for name, count in counts.items()}


def _counts_of_equal_size(groups: GroupScores, count: int) -> dict[str, int]:
    """How many groups of each layer are among the `count` lowest, without each scope's best."""
    count = min(count, sum(scores.numel() - len(scores) for scores in groups.values()))
    if count <= 0:
        return dict.fromkeys(groups, 0)
    arrays = {name: as_array(scores) for name, scores in groups.items()}
    best = {name: array.max(axis=1) for name, array in arrays.items()}
    rows = [array.ravel() for array in arrays.values()]
    kth = kth_smallest(rows, count, np.concatenate([*best.values()]))
    lower = dict(zip(groups, kth.below, strict=True))
    equal = dict(zip(groups, kth.equal, strict=True))
    counts = {name: lower[name] - _n_true(best[name] < kth.value) for name in groups}
    left = count - sum(counts.values())
    for name in groups:
        tied = min(left, equal[name] - _n_true(best[name] == kth.value))
        counts[name] += tied
        left -= tied
    return counts


def _n_true(marked: np.ndarray) -> int:
    return int(np.count_nonzero(marked))


def _scores_with_best_at_infinity(groups: GroupScores) -> Tensor:
    """All scores in one row, a copy. The best group of every scope is at infinity."""
    row = torch.cat([torch.from_numpy(as_array(scores)).flatten() for scores in groups.values()])
    parts = row.split([scores.numel() for scores in groups.values()])
    for part, scores in zip(parts, groups.values(), strict=True):
        best = torch.from_numpy(as_array(scores).argmax(axis=1, keepdims=True))
        part.view(scores.shape).scatter_(1, best, torch.inf)
    return row


def _counts_by_size(groups: GroupScores, sizes: dict[str, int], goal: int) -> dict[str, int]:
    """How many groups of each layer are removed, where groups differ in size.

    The lowest groups are removed until the number of removed weights is nearest to the goal.
    """
    row = _scores_with_best_at_infinity(groups)
    lengths = torch.tensor([scores.numel() for scores in groups.values()])
    layer_numbers = torch.arange(len(lengths), dtype=torch.int32)
    order = row.argsort(stable=True)
    owners = torch.repeat_interleave(layer_numbers, lengths)[order]
    removed_weights = torch.tensor([sizes[name] for name in groups])[owners].cumsum(0)
    count = int((removed_weights <= goal).sum())
    if count < len(removed_weights):
        short = goal - (int(removed_weights[count - 1]) if count else 0)
        # One more group is removed if that comes nearer to the goal.
        count += int(removed_weights[count]) - goal < short
    chosen = owners[:count][~row[order[:count]].isposinf()]
    counts = torch.bincount(chosen, minlength=len(lengths)).tolist()
    return dict(zip(groups, counts, strict=True))


def with_overrides(ratios: Ratios, overrides: Mapping[str, float]) -> Ratios:
    """The ratios, with those set by hand in place of the allocation's.

    Raises PruningError for a ratio outside [0, 1], and for a name that is no layer.
    """
    for name, ratio in overrides.items():
        if name not in ratios:
            raise PruningError(
                f"The plan sets a ratio for '{name}', which is not a layer that can be pruned here."
            )
        if not 0 <= ratio <= 1:
            raise PruningError(f"The ratio {ratio} of {name} is outside [0, 1].")
    return ratios | dict(overrides)


ALLOCATIONS: dict[str, Allocation] = {
    "uniform": FunctionAllocation(
        uniform,
        label="Uniform",
        formula="r_l = s",
        source="Zhu and Gupta 2017, arXiv:1710.01878",
    ),
    "uniform_plus": FunctionAllocation(
        uniform_plus,
        label="Uniform+",
        formula="r_l = min(u, cap_l), cap = 0 for the first conv, 0.8 for the output layer, "
        "else 1; u fits the total",
        source="Gale et al. 2019, arXiv:1902.09574",
    ),
    "global": FunctionAllocation(
        rank_globally,
        label="Global",
        formula="rank all group scores together; remove the lowest until a share s of the weights "
        "is removed",
        source="See et al. 2016 (class-blind), arXiv:1606.09274; Frankle and Carbin 2019, "
        "arXiv:1803.03635",
    ),
    "lamp": FunctionAllocation(
        lamp,
        label="LAMP",
        help="Global, after each score is divided by the scores of its layer that are not below "
        "it, so that no layer is emptied.",
        formula="LAMP(u) = s_u^2 / sum over v with s_v >= s_u of s_v^2, per layer; "
        "then one global ranking",
        source="Lee et al. 2021, arXiv:2010.07611",
    ),
    "erk": FunctionAllocation(
        erk,
        label="ERK",
        formula="density_l = min(1, eps (n_in + n_out + kh + kw) / (n_in n_out kh kw)); "
        "eps solves the total",
        source="Evci et al. 2020 (RigL), arXiv:1911.11134",
    ),
    "manual": FunctionAllocation(
        manual,
        uses_target=False,
        label="Manual",
        formula="r_l = the ratio set by hand, 0 where none is",
        source="Han et al. 2015, arXiv:1506.02626 (ratios chosen by hand from sensitivity)",
    ),
}
"""A new allocation: one function (layers, groups, sparsity) -> Ratios, and one entry here."""
