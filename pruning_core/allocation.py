"""How much in each layer? Every allocation only produces Ratios: fraction of the groups removed,
per layer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import torch

from pruning_core.masks import as_array
from pruning_core.ranking import kth_smallest
from pruning_core.registry import Entry
from pruning_core.types import GroupScores, Layer, PruningError, Ratios


@runtime_checkable
class Allocation(Entry, Protocol):
    """(layers, group scores, sparsity) -> Ratios; sparsity = fraction of all those layers' weights
    to remove.
    """

    def __call__(
        self, layers: tuple[Layer, ...], groups: GroupScores, sparsity: float
    ) -> Ratios: ...


@dataclass(frozen=True)
class Uniform:
    """Every layer gives the same share: r_l = s."""

    label: ClassVar[str] = "Uniform"
    help: ClassVar[str] = "Every layer loses the same share."
    formula: ClassVar[str] = "r_l = s"
    source: ClassVar[str] = "Zhu and Gupta 2017, arXiv:1710.01878"

    def __call__(self, layers: tuple[Layer, ...], groups: GroupScores, sparsity: float) -> Ratios:
        return {layer.name: sparsity for layer in layers}


@dataclass(frozen=True)
class UniformPlus:
    """Uniform, but the first convolution stays dense and the output layer keeps 20% (Gale et al.
    2019, arXiv:1902.09574).
    """

    label: ClassVar[str] = "Uniform+"
    help: ClassVar[str] = (
        "Uniform, but the first convolution stays dense and the layer that makes the classes keeps at least 20%."
    )
    formula: ClassVar[str] = (
        "r_l = min(u, cap_l), cap = 0 for the first conv, 0.8 for the output layer, else 1; u fits the total"
    )
    source: ClassVar[str] = "Gale et al. 2019, arXiv:1902.09574"
    last_keeps: float = 0.2

    def __call__(self, layers: tuple[Layer, ...], groups: GroupScores, sparsity: float) -> Ratios:
        caps = {
            x.name: 0.0 if x.is_first else 1 - self.last_keeps if x.is_output else 1.0
            for x in layers
        }
        return fit_ratios(
            layers, sparsity, lambda u: {name: min(u, cap) for name, cap in caps.items()}
        )


@dataclass(frozen=True)
class Global:
    """One ranking of all groups of all layers: the lowest scores go, wherever they are."""

    label: ClassVar[str] = "Global"
    help: ClassVar[str] = (
        "All layers compete in one ranking: the lowest scores go, wherever they are."
    )
    formula: ClassVar[str] = (
        "rank all group scores together; remove the lowest until a share s of the weights is gone"
    )
    source: ClassVar[str] = (
        "Han et al. 2015, arXiv:1506.02626; Frankle and Carbin 2019, arXiv:1803.03635"
    )

    def __call__(self, layers: tuple[Layer, ...], groups: GroupScores, sparsity: float) -> Ratios:
        return rank_globally(layers, groups, sparsity)


@dataclass(frozen=True)
class Lamp:
    """Global ranking of s_u^2 / sum of the s_v^2 not below it in its layer (Lee et al. 2021,
    arXiv:2010.07611).
    """

    label: ClassVar[str] = "LAMP"
    help: ClassVar[str] = (
        "Global, after each score is measured against what is left of its own layer: no layer is emptied."
    )
    formula: ClassVar[str] = (
        "LAMP(u) = s_u^2 / sum over v with s_v >= s_u of s_v^2, per layer; then one global ranking"
    )
    source: ClassVar[str] = "Lee et al. 2021, arXiv:2010.07611"

    def __call__(self, layers: tuple[Layer, ...], groups: GroupScores, sparsity: float) -> Ratios:
        return rank_globally(
            layers, {layer.name: lamp_scores(groups[layer.name]) for layer in layers}, sparsity
        )


@dataclass(frozen=True)
class Erk:
    """Erdos-Renyi-Kernel: density in proportion to (sum of dimensions) / (their product) (Evci et
    al. 2020, arXiv:1911.11134).
    """

    label: ClassVar[str] = "ERK"
    help: ClassVar[str] = "Large layers lose more than small ones, by their dimensions alone."
    formula: ClassVar[str] = (
        "density_l = min(1, eps (n_in + n_out + kh + kw) / (n_in n_out kh kw)); eps solves the total"
    )
    source: ClassVar[str] = "Evci et al. 2020 (RigL), arXiv:1911.11134"

    def __call__(self, layers: tuple[Layer, ...], groups: GroupScores, sparsity: float) -> Ratios:
        raw = {layer.name: sum(layer.param_shape) / layer.numel for layer in layers}
        scale = 1 / min(raw.values(), default=1)
        return fit_ratios(
            layers,
            sparsity,
            lambda u: {
                name: 1.0 - min(1.0, (1 - u) * scale * density) for name, density in raw.items()
            },
        )


@dataclass(frozen=True)
class Manual:
    """Every layer stays dense until you give it a ratio of its own."""

    label: ClassVar[str] = "Manual"
    help: ClassVar[str] = (
        "Every layer stays dense until you set its own ratio; the global slider has no say."
    )
    formula: ClassVar[str] = "r_l = the ratio set by hand, 0 where none is"
    source: ClassVar[str] = (
        "Han et al. 2015, arXiv:1506.02626 (ratios chosen by hand from sensitivity)"
    )

    def __call__(self, layers: tuple[Layer, ...], groups: GroupScores, sparsity: float) -> Ratios:
        return {layer.name: 0.0 for layer in layers}


ALLOCATIONS: dict[str, Allocation] = {
    "uniform": Uniform(),
    "uniform_plus": UniformPlus(),
    "global": Global(),
    "lamp": Lamp(),
    "erk": Erk(),
    "manual": Manual(),
}


def weight_count(layer: Layer) -> int:
    """Number of weights of a layer."""
    return layer.numel


def fit_ratios(
    layers: tuple[Layer, ...],
    sparsity: float,
    family: Callable[[float], Ratios],
    weigh: Callable[[Layer], int] = weight_count,
) -> Ratios:
    """Bisects the level u in [0, 1] of a rising family of ratios until the weighted total is the
    sparsity, or its largest.

    Where the total jumps at a level, the ratios on both sides of the jump are mixed so that the
    total is met.
    """
    low = 0.0
    high = 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (
            (middle, high)
            if total_ratio(layers, family(middle), weigh) < sparsity
            else (low, middle)
        )
    under = family(low)
    over = family(high)
    short = total_ratio(layers, under, weigh)
    reach = total_ratio(layers, over, weigh)
    share = (
        1.0
        if reach <= short or reach <= sparsity
        else max(0.0, (sparsity - short) / (reach - short))
    )
    return {name: under[name] + share * (over[name] - under[name]) for name in over}


def total_ratio(
    layers: tuple[Layer, ...], ratios: Ratios, weigh: Callable[[Layer], int] = weight_count
) -> float:
    """The share of all those layers' weights, or of what else they weigh, that the ratios remove."""
    total = sum(weigh(layer) for layer in layers)
    return sum(weigh(layer) * ratios[layer.name] for layer in layers) / total if total else 0.0


def lamp_scores(scores: torch.Tensor) -> torch.Tensor:
    """s_u^2 / (sum of s_v^2 over the v at or after u in ascending order), in float64; the layer's
    largest is always 1.

    A score below zero, whose removal helps (GraSP), stays below: -s_u^2 / (sum of those). Groups at
    -inf, already removed, stay.
    """
    gone = scores.isneginf()
    flat = scores.double().masked_fill(gone, 0).flatten()
    ascending, order = flat.sort(stable=True)
    above = ascending.clamp_min(0).square()
    below = ascending.clamp_max(0).square()
    left = above.flip(0).cumsum(0).flip(0)
    ranked = above / _least(left) - below / _least(below.sum())
    return (
        torch.empty_like(flat)
        .scatter_(0, order, ranked)
        .view(scores.shape)
        .masked_fill(gone, -torch.inf)
    )


def _least(total: torch.Tensor) -> torch.Tensor:
    """The total where it is above zero, to divide by."""
    return total.clamp_min(torch.finfo(torch.float64).tiny)


def rank_globally(layers: tuple[Layer, ...], groups: GroupScores, sparsity: float) -> Ratios:
    """Removes the lowest groups of all layers until their weights are nearest to the sparsity;
    every scope keeps its best.

    Groups of one size: the threshold by `ranking.kth_smallest`, and with it the counts per layer;
    of equals the first go first.
    """
    if not layers:
        return {}
    found = {layer.name: groups[layer.name] for layer in layers}
    sizes = {layer.name: layer.numel // found[layer.name].numel() for layer in layers}
    goal = round(sparsity * sum(layer.numel for layer in layers))
    gone = (
        _equal(found, round(goal / sizes[layers[0].name]))
        if len(set(sizes.values())) == 1
        else _weighted(found, sizes, goal)
    )
    return {name: count / found[name].numel() for name, count in gone.items()}


def _equal(groups: GroupScores, count: int) -> dict[str, int]:
    """How many of each layer's groups are among the `count` lowest of all, the best of every scope
    apart.
    """
    count = min(count, sum(found.numel() - len(found) for found in groups.values()))
    if count <= 0:
        return dict.fromkeys(groups, 0)
    arrays = {name: as_array(found) for name, found in groups.items()}
    best = {name: found.max(axis=1) for name, found in arrays.items()}
    found = kth_smallest(
        [array.ravel() for array in arrays.values()], count, np.concatenate([*best.values()])
    )
    lower = dict(zip(groups, found.below, strict=True))
    equal = dict(zip(groups, found.equal, strict=True))
    below = {name: lower[name] - _count(best[name] < found.value) for name in groups}
    left = count - sum(below.values())
    for name in groups:
        tied = min(left, equal[name] - _count(best[name] == found.value))
        below[name] += tied
        left -= tied
    return below


def _count(marked: np.ndarray) -> int:
    return int(np.count_nonzero(marked))


def _spared(groups: GroupScores) -> torch.Tensor:
    """All scores in one row, a copy, with one best of every scope at infinity."""
    row = torch.cat([torch.from_numpy(as_array(found)).flatten() for found in groups.values()])
    for part, found in zip(
        row.split([found.numel() for found in groups.values()]), groups.values(), strict=True
    ):
        best = torch.from_numpy(as_array(found).argmax(axis=1, keepdims=True))
        part.view(found.shape).scatter_(1, best, torch.inf)
    return row


def _weighted(groups: GroupScores, sizes: dict[str, int], goal: int) -> dict[str, int]:
    """How many of each layer's groups go before the weights gone are nearest to the goal, where
    groups differ in size.
    """
    scores = _spared(groups)
    parts = [found.numel() for found in groups.values()]
    order = scores.argsort(stable=True)
    owner = torch.repeat_interleave(
        torch.arange(len(parts), dtype=torch.int32), torch.tensor(parts)
    )[order]
    weight = torch.tensor([sizes[name] for name in groups])[owner].cumsum(0)
    count = int((weight <= goal).sum())
    count += count < len(weight) and int(weight[count]) - goal < goal - (
        int(weight[count - 1]) if count else 0
    )
    gone = owner[:count][~scores[order[:count]].isposinf()]
    return dict(zip(groups, torch.bincount(gone, minlength=len(parts)).tolist(), strict=True))


def with_overrides(ratios: Ratios, overrides: Mapping[str, float]) -> Ratios:
    """The ratios, those set by hand in place of the allocation's. Raises PruningError for one
    outside [0, 1] or of no layer.
    """
    for name, ratio in overrides.items():
        if name not in ratios:
            raise PruningError(
                f"The plan sets a ratio for '{name}', which is not a layer that can be pruned here."
            )
        if not 0 <= ratio <= 1:
            raise PruningError(f"The ratio {ratio} of {name} is outside [0, 1].")
    return ratios | dict(overrides)
