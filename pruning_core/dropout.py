"""Dropout and DropConnect, to compare with pruning: every pass has a new random mask.

One mask of one pass, kept for all passes, is random pruning: `as_plan` gives the plan for it.
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
from pruning_core.registry import Described, find
from pruning_core.types import Layer, Masks, PruningError

Mask = Bool[Tensor, "_o _i _h _w"]
RANDOM = "random"
"""The criterion that chooses the dropped groups."""


@dataclass(frozen=True, kw_only=True)
class Regulariser(Described):
    """A kind of random dropping, an `Entry`. granularity: what is dropped as a whole."""

    granularity: str


REGULARISERS: dict[str, Regulariser] = {
    "dropout": Regulariser(
        label="Dropout (neurons)",
        help="Whole outputs are zero for one pass, others in the next; "
        "the trained network uses all of them.",
        formula="y = f(W v) m / (1 - p), m ~ Bernoulli(1 - p) per output",
        source="Srivastava et al. 2014, JMLR 15",
        granularity="filter",
    ),
    "dropconnect": Regulariser(
        label="DropConnect (weights)",
        help="Single weights are zero for one pass, others in the next; "
        "the trained network uses all of them.",
        formula="y = f((M * W) v) / (1 - p), M ~ Bernoulli(1 - p) per weight",
        source="Wan et al. 2013, ICML",
        granularity="fine",
    ),
}


def dropped_share(name: str, layer: Layer, rate: float, seed: int) -> float:
    """The share of the layer's groups (outputs or weights) that one pass drops.

    K / n, K ~ Binomial(n, rate). seed: of the pass. Raises PruningError for an unknown name, a rate
    outside [0, 1), and Dropout on the network's outputs.
    """
    g = GRANULARITIES[find(REGULARISERS, name, "regulariser").granularity]
    _, groups, _ = to_groups(torch.empty(layer.shape, device="meta"), g, layer).shape
    generator = torch.Generator().manual_seed(crc32(f"{seed} {layer.name} dropped".encode()))
    count = torch.tensor(float(groups), dtype=torch.float64)
    rates = torch.tensor(_checked(rate), dtype=torch.float64)
    return int(torch.binomial(count, rates, generator=generator)) / groups


def sample_mask(name: str, layer: Layer, rate: float, seed: int) -> Mask:
    """The mask of one pass. Each output or weight is dropped with probability `rate` on its own.

    True = kept, OIHW. Raises PruningError as `dropped_share`.

    Dropout: y = f(W v) * m / (1 - rate), m ~ Bernoulli(1 - rate), new in every pass of training;
    the trained network has no m. Srivastava et al. 2014, JMLR 15.
    DropConnect: y = f((M * W) v) / (1 - rate); the trained network uses W. Wan et al. 2013, ICML.
    The paper draws M for every example, drops biases too, and in use averages f over a normal
    approximation. Here M is drawn once per pass, for weights alone.

    The random criterion ranks the groups; the lowest `dropped_share` of them are dropped. A
    binomial number of exchangeable groups has the distribution of independent draws.
    """
    g = GRANULARITIES[find(REGULARISERS, name, "regulariser").granularity]
    random = criterion(RANDOM, seed)
    ratio = {layer.name: dropped_share(name, layer, rate, seed)}
    groups = group_scores(random(nn.Identity(), (layer,), ()), (layer,), g, random.pool)
    return select(groups, (layer,), g, ratio, allow_collapse=True)[layer.name]


def training_weight(
    weight: Float[Tensor, "_o _i _h _w"], mask: Mask, rate: float
) -> Float[Tensor, "_o _i _h _w"]:
    """The weight that one pass of training computes with: w * m / (1 - rate).

    Over masks its mean is w and its variance w^2 rate / (1 - rate).
    """
    return weight * mask / (1 - _checked(rate))


def frozen_masks(name: str, layers: Iterable[Layer], rate: float, seed: int) -> Masks:
    """The masks of one pass, kept for all passes: random pruning of neurons or of weights.

    There is no factor 1 / (1 - rate). Every layer draws its own numbers. Unlike the masks of a
    plan's ratio, the count is random. Raises PruningError as `dropped_share`.
    """
    return {layer.name: sample_mask(name, layer, rate, seed) for layer in layers}


def as_plan(plan: Plan, name: str, layer: Layer, rate: float, seed: int) -> Plan:
    """The plan whose mask of the layer is exactly that sample: criterion Random, the pass's seed.

    Criterion, granularity and seed hold for the whole plan, so all other layers become dense,
    except those that were frozen from the same pass before. A pass that drops everything allows the
    layer to collapse. Raises PruningError as `dropped_share`.
    """
    g = find(REGULARISERS, name, "regulariser").granularity
    ratio = dropped_share(name, layer, rate, seed)
    random = replace(plan, criterion=RANDOM, granularity=g, allocation="manual", seed=seed)
    same_pass = random == plan
    overrides = dict(plan.overrides) if same_pass else {}
    edits = tuple(
        edit
        for edit in plan.edits
        if edit.granularity != g or (same_pass and edit.layer != layer.name)
    )
    return replace(
        random,
        overrides=tuple((overrides | {layer.name: ratio}).items()),
        edits=edits,
        allow_collapse=plan.allow_collapse or ratio == 1,
    )


def _checked(rate: float) -> float:
    if not 0 <= rate < 1:
        raise PruningError(
            f"A drop rate must lie in [0, 1), not {rate}: at 1 nothing would be left."
        )
    return rate
