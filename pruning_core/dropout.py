"""Dropout and DropConnect, to see how they differ from pruning: a new random mask in every pass,
nothing is gone for good.

One pass, kept for good, is random pruning: `as_plan` names the plan that does exactly that.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from zlib import crc32

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pruning_core.criteria import criterion
from pruning_core.granularity import GRANULARITIES, to_groups
from pruning_core.masks import group_scores, select
from pruning_core.plan import Plan
from pruning_core.registry import find
from pruning_core.types import Layer, Masks, PruningError

Mask = Bool[Tensor, "_o _i _h _w"]
RANDOM = "random"
"""The criterion that decides which groups go."""


@dataclass(frozen=True)
class Regulariser:
    """A way to drop at random. granularity: in what shape; formula, source: for people."""

    label: str
    help: str
    formula: str
    source: str
    granularity: str


REGULARISERS: dict[str, Regulariser] = {
    "dropout": Regulariser(
        "Dropout (neurons)",
        "Whole outputs are silent for one pass, others in the next; the finished network uses them all.",
        "y = f(W v) m / (1 - p), m ~ Bernoulli(1 - p) per output",
        "Srivastava et al. 2014, JMLR 15",
        "filter",
    ),
    "dropconnect": Regulariser(
        "DropConnect (weights)",
        "Single weights are zero for one pass, others in the next; the finished network uses them all.",
        "y = f((M * W) v) / (1 - p), M ~ Bernoulli(1 - p) per weight",
        "Wan et al. 2013, ICML",
        "fine",
    ),
}


def dropped_share(name: str, layer: Layer, rate: float, seed: int) -> float:
    """The share of the layer's groups (outputs or weights) that one pass drops: K / n, K ~
    Binomial(n, rate).

    seed: of the pass. Raises PruningError for an unknown name, a rate outside [0, 1), and Dropout
    on the network's outputs.
    """
    g = GRANULARITIES[find(REGULARISERS, name, "regulariser").granularity]
    _, groups, _ = to_groups(torch.empty(layer.shape, device="meta"), g, layer).shape
    chance = torch.Generator().manual_seed(crc32(f"{seed} {layer.name} dropped".encode()))
    count = torch.tensor(float(groups), dtype=torch.float64)
    rates = torch.tensor(_checked(rate), dtype=torch.float64)
    return int(torch.binomial(count, rates, generator=chance)) / groups


def sample_mask(name: str, layer: Layer, rate: float, seed: int) -> Mask:
    """Each output (Dropout) or weight (DropConnect) is dropped with probability `rate` on its own
    (True = kept, OIHW).

    Dropout: y = f(W v) * m / (1 - rate), m ~ Bernoulli(1 - rate), new in every pass of training;
    without m when the network is used. Srivastava et al. 2014, JMLR 15. DropConnect: y = f((M * W)
    v) / (1 - rate), W when used; the paper draws M for every example, drops biases too and averages
    f over a normal approximation in use; here M is of one pass, and of weights. Wan et al. 2013,
    ICML. Drawn as `dropped_share` of the groups that the random criterion ranks lowest: a binomial number
    of exchangeable groups is independent chance for each. Raises PruningError as `dropped_share`.
    """
    g = GRANULARITIES[find(REGULARISERS, name, "regulariser").granularity]
    how = criterion(RANDOM, seed)
    ratio = {layer.name: dropped_share(name, layer, rate, seed)}
    groups = group_scores(how(nn.Identity(), (layer,), ()), (layer,), g, how.pool)
    return select(groups, (layer,), g, ratio, allow_collapse=True)[layer.name]


def training_weight(
    weight: Float[Tensor, "_o _i _h _w"], mask: Mask, rate: float
) -> Float[Tensor, "_o _i _h _w"]:
    """What one pass of training computes with: w * m / (1 - rate), of mean w and variance w^2 rate
    / (1 - rate) over masks.
    """
    return weight * mask / (1 - _checked(rate))


def frozen_masks(name: str, layers: Iterable[Layer], rate: float, seed: int) -> Masks:
    """One sample kept for good: random pruning of neurons or of weights, without the factor 1 / (1
    - rate).

    Every layer draws numbers of its own. Unlike the masks of a plan's ratio the count is random.
    Raises PruningError as `dropped_share`.
    """
    return {layer.name: sample_mask(name, layer, rate, seed) for layer in layers}


def as_plan(plan: Plan, name: str, layer: Layer, rate: float, seed: int) -> Plan:
    """The plan whose mask of the layer is exactly that sample: the random criterion with the pass's
    seed, at its share.

    Criterion, granularity and seed are of the whole plan, so all other layers become dense, but for
    those frozen from the same pass before. A pass that drops everything allows the layer to
    collapse. Raises PruningError as `dropped_share`.
    """
    g = find(REGULARISERS, name, "regulariser").granularity
    ratio = dropped_share(name, layer, rate, seed)
    drawn = replace(plan, criterion=RANDOM, granularity=g, allocation="manual", seed=seed)
    same = drawn == plan
    return replace(
        drawn,
        overrides=tuple(((dict(plan.overrides) if same else {}) | {layer.name: ratio}).items()),
        edits=tuple(
            each
            for each in plan.edits
            if each.granularity != g or (same and each.layer != layer.name)
        ),
        allow_collapse=plan.allow_collapse or ratio == 1,
    )


def _checked(rate: float) -> float:
    if not 0 <= rate < 1:
        raise PruningError(
            f"A drop rate must lie in [0, 1), not {rate}: at 1 nothing would be left."
        )
    return rate
