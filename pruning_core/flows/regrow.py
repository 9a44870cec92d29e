"""Flows whose removed weights return by a rule: dynamic network surgery, and RigL."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pruning_core.flows.masking import (
    StepState,
    Timed,
    mask_fixed,
    total_steps,
    train_with_rule,
    update_steps,
)
from pruning_core.flows.protocol import (
    Chosen,
    Event,
    FlowContext,
    FlowDefaults,
)
from pruning_core.flows.rounds import READS_CRITERION
from pruning_core.granularity import from_groups, to_groups
from pruning_core.masks import achieved, exclude_removed, ranks
from pruning_core.settings import setting
from pruning_core.training.state_files import KeptGenerator
from pruning_core.types import GroupScores, Layer, Masks, PruningError

KeptGroups = dict[str, Bool[Tensor, "_s _g"]]


def kept_groups(context: FlowContext, masks: Masks) -> KeptGroups:
    """Which groups the masks keep: layer name -> scope x group."""
    return {
        layer.name: to_groups(masks[layer.name], context.plan.granularity, layer).any(-1)
        for layer in context.layers
        if layer.name in masks
    }


def masks_of_groups(context: FlowContext, kept: KeptGroups, scores: GroupScores) -> Chosen:
    """The masks that keep these groups, with the plan's hand edits, and each layer's ratio."""
    layers = {layer.name: layer for layer in context.layers}
    granularity = context.plan.granularity
    masks = {name: from_groups(keep, granularity, layers[name]) for name, keep in kept.items()}
    edited = context.plan.with_hand_edits(scores, masks)
    return achieved(edited), edited


def is_trained(model: nn.Module, layer: Layer) -> bool:
    """Does training change the layer, or is it frozen?"""
    return model.get_parameter(layer.name).requires_grad


def group_magnitudes(context: FlowContext, state: StepState) -> GroupScores:
    """The mean |w| of every group after the step."""
    return context.pooled(dict(state.weights), "mean_abs")


def _deviation(magnitudes: Float[Tensor, "s g"]) -> Float[Tensor, "s 1"]:
    """The standard deviation in each scope, above zero."""
    tiny = torch.finfo(magnitudes.dtype).tiny
    return magnitudes.std(1, keepdim=True, unbiased=False).clamp_min(tiny)


@dataclass(frozen=True)
class Surgery(FlowDefaults):
    """Dynamic network surgery: remove groups below a threshold, restore groups above a higher one.

    All weights are trained, removed ones too. In each scope of a layer, level = mean |W| +
    q std |W|; the thresholds are low x level and high x level; between them a group stays as it
    is. The first mask removes the smallest weights up to the target, and q is solved once, so
    that the first level gives this mask. Mean and deviation are those of the weights now; in the
    released code those from before the training (`fixed`), so that growing weights leave the
    target. An update happens with probability 1 / (1 + gamma step), gamma 1e-4 in the released
    LeNet-5. (The released code also has a q that the user gives, counts biases in mean and
    deviation, masks biases too, and may update in every step.) The final sparsity is near the
    target, not equal to it.
    Raises PruningError for N:M, whose ratio is fixed.
    """

    help: str = (
        "Removes small weights and restores those that have become large again: removed weights "
        "are still trained. The final sparsity is near the target, not equal to it. The authors "
        "also remove biases."
    )
    formula: str = (
        "level = mean|W| + q std|W|; m = 0 if |W| < 0.9 level; m = 1 if |W| >= 1.1 level; "
        "else as before"
    )
    regrows: ClassVar[bool] = True
    label: str = "Dynamic network surgery"
    source: str = "Guo et al. 2016, arXiv:1608.04493"
    published: tuple[tuple[str, str], ...] = (("granularity", "fine"), ("allocation", "uniform"))
    low: float = setting(
        0.9,
        0.1,
        1.0,
        "The lower threshold, as a fraction of the level. Groups below it are removed.",
        label="Lower threshold",
    )
    high: float = setting(
        1.1,
        1.0,
        10.0,
        "The upper threshold, as a fraction of the level. Groups above it are kept.",
        label="Upper threshold",
    )
    end: float = mask_fixed(0.7)
    updates: int = setting(
        30, 1, 1000, "How many times the mask may be updated.", label="Mask updates"
    )
    fixed: bool = setting(
        False,
        0,
        1,
        "Keep the level of the start, as the authors do: the final sparsity can be far from the "
        "target. Off: the level follows the weights.",
        label="Level of the start",
    )
    gamma: float = setting(
        0.0,
        0.0,
        1.0,
        "An update after t steps happens with probability 1 / (1 + gamma t). The authors: 0.0001.",
        label="Fewer updates (gamma)",
    )

    def __call__(self, context: FlowContext) -> Iterator[Event]:
        granularity = context.plan.granularity
        if granularity.fixed_ratio is not None:
            raise PruningError(
                f"{granularity.label} has a fixed ratio, but {self.label} needs one that can "
                "change: choose another granularity."
            )
        weights = {
            layer.name: context.model.get_parameter(layer.name).detach().view(layer.shape)
            for layer in context.layers
        }
        magnitudes = context.pooled(weights, "mean_abs")
        _, masks = context.plan.choose(magnitudes, 1.0)
        q = {
            name: _level_factor(magnitudes[name], kept)
            for name, kept in kept_groups(context, masks).items()
        }
        start = {name: _level(magnitudes[name], factor) for name, factor in q.items()}
        chance = torch.Generator().manual_seed(context.config.seed)

        def choose(state: StepState, _: float) -> Chosen:
            if torch.rand(1, generator=chance).item() >= 1 / (1 + self.gamma * state.step):
                return achieved(state.masks), state.masks
            now = group_magnitudes(context, state)
            followed = {name: _level(now[name], factor) for name, factor in q.items()}
            return self._updated(context, state, now, start if self.fixed else followed)

        when = dict.fromkeys(update_steps(context, 0.0, self.end, self.updates), 1.0)
        kept = {"chance": KeptGenerator(chance)}
        rule = Timed(when, choose, keeps_values=True, trains_removed=True, kept=kept)
        yield from train_with_rule(context, rule, context.model, masks, regrows=True)

    def _updated(
        self,
        context: FlowContext,
        state: StepState,
        magnitudes: GroupScores,
        levels: dict[str, Tensor],
    ) -> Chosen:
        """The masks after the two thresholds; every scope keeps at least its largest group."""
        before = kept_groups(context, state.masks)
        kept = {}
        for name, level in levels.items():
            size = magnitudes[name]
            keep = before[name] & (size >= self.low * level) | (size >= self.high * level)
            largest = size >= size.amax(1, keepdim=True)
            kept[name] = torch.where(keep.any(1, keepdim=True), keep, largest)
        return masks_of_groups(context, kept, magnitudes)


def _level(magnitudes: Float[Tensor, "s g"], factor: Float[Tensor, "s 1"]) -> Float[Tensor, "s 1"]:
    """mean + q std of each scope."""
    return magnitudes.mean(1, keepdim=True) + factor * _deviation(magnitudes)


def _level_factor(
    magnitudes: Float[Tensor, "s g"], kept: Bool[Tensor, "s g"]
) -> Float[Tensor, "s 1"]:
    """q of each scope: mean + q std is halfway between the largest removed and smallest kept group.

    -inf where nothing is removed.
    """
    removed = magnitudes.masked_fill(kept, -torch.inf).amax(1, keepdim=True)
    smallest = magnitudes.masked_fill(~kept, torch.inf).amin(1, keepdim=True)
    halfway = (removed + smallest) / 2
    return (halfway - magnitudes.mean(1, keepdim=True)) / _deviation(magnitudes)


def exchanged(
    kept: Bool[Tensor, "s g"],
    magnitudes: Float[Tensor, "s g"],
    gradients: Float[Tensor, "s g"],
    share: float,
) -> Bool[Tensor, "s g"]:
    """Which groups are kept after one exchange.

    In each scope, floor(share x kept) groups of smallest magnitude are removed; then as many of
    largest gradient, among all that are not kept, return.
    """
    count = (kept.sum(1, keepdim=True) * share).int()
    after = kept & ~(ranks(magnitudes.masked_fill(~kept, torch.inf)) < count)
    return after | (ranks(-gradients.masked_fill(after, -torch.inf)) < count)


@dataclass(frozen=True)
class RigL(FlowDefaults):
    """Train sparse: remove the smallest weights, add as many with the largest gradient, from zero.

    The first mask is the plan's own (its criterion, allocation and target). The exchanged share
    decreases on a half cosine. A removed weight may return in the same update, as in the paper.
    A weight that returns has no momentum from before, as in the authors' code. With
    `released`, the optimizer moves nothing in a step with an exchange, as in that code; else the
    exchange follows the step.
    A frozen layer keeps its first mask: weights that return start at zero and need training.
    """

    help: str = (
        "Starts at the target and exchanges weights: removes the smallest, and adds those with the "
        "largest gradient, which start at zero and without momentum. In the authors' code the "
        "optimizer moves nothing at an exchange: `released`."
    )
    formula: str = (
        "remove the floor(a/2 (1 + cos(pi t/T)) n) smallest |w| of n kept; "
        "add as many of largest |dL/dw|"
    )
    needs: ClassVar[str] = READS_CRITERION
    passes: ClassVar[str] = (
        "1 forward, 1 backward per step, with dense gradients; the criterion's once"
    )
    regrows: ClassVar[bool] = True
    scored: ClassVar[bool] = True
    label: str = "RigL (sparse training)"
    source: str = "Evci et al. 2020, arXiv:1911.11134"
    published: tuple[tuple[str, str], ...] = (
        ("granularity", "fine"),
        ("allocation", "erk"),
        ("criterion", "random"),
    )
    share: float = setting(
        0.3,
        0.0,
        1.0,
        "The fraction of the kept weights that is exchanged at first.",
        label="Fraction replaced",
    )
    end: float = mask_fixed(0.75)
    updates: int = setting(
        20, 1, 1000, "How many times weights are exchanged.", label="Mask updates"
    )
    fresh: bool = setting(
        False,
        0,
        1,
        "Start from new random weights, as the authors do. Off: from the trained ones.",
        label="New random weights",
    )
    released: bool = setting(
        False,
        0,
        1,
        "The optimizer moves nothing at an exchange, as in the authors' code.",
        label="Steps of the authors' code",
    )

    def __call__(self, context: FlowContext) -> Iterator[Event]:
        seed = context.config.seed
        model = context.plan.fresh_model(seed) if self.fresh else context.model
        _, masks = context.plan.choose(context.plan.scores(model), 1.0)
        when = dict.fromkeys(update_steps(context, 0.0, self.end, self.updates), 1.0)
        end = max(1, round(self.end * total_steps(context)))
        rule = Timed(
            when,
            lambda state, _: self._updated(context, state, (state.step + 1) / end),
            resets_momentum=True,
            skipped_steps=when if self.released else (),
            kept={},
        )
        yield from train_with_rule(context, rule, model, masks, regrows=True)

    def _updated(self, context: FlowContext, state: StepState, progress: float) -> Chosen:
        """The masks after one exchange."""
        share = self.share / 2 * (1 + math.cos(math.pi * progress))
        magnitudes = group_magnitudes(context, state)
        pooled = context.pooled(dict(state.gradients), "mean_abs")
        plan = context.plan
        gradients = exclude_removed(pooled, plan.start, context.layers, plan.granularity)
        trained = {x.name for x in context.layers if is_trained(context.model, x)}
        kept = {
            name: exchanged(keep, magnitudes[name], gradients[name], share * (name in trained))
            for name, keep in kept_groups(context, state.masks).items()
        }
        return masks_of_groups(context, kept, magnitudes)
