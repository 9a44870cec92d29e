"""Flows whose weights may return by rule: dynamic network surgery, and RigL's drop and grow."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pruning_core.flows.masking import StepState, Timed, steps_in_all, trained, update_steps
from pruning_core.flows.protocol import Chosen, Event, FlowContext, need_epochs, setting
from pruning_core.granularity import from_groups, to_groups
from pruning_core.masks import achieved, ranks
from pruning_core.types import GroupScores, Layer, Masks, PruningError

Kept = dict[str, Bool[Tensor, "_s _g"]]


def kept_groups(work: FlowContext, masks: Masks) -> Kept:
    """Which groups the masks keep, scope x group."""
    return {
        x.name: to_groups(masks[x.name], work.granularity, x).any(-1)
        for x in work.prunable
        if x.name in masks
    }


def expand_groups(work: FlowContext, kept: Kept, scores: GroupScores) -> Chosen:
    """The masks of these groups, with the plan's hand edits on top, and what share of each layer
    they remove.
    """
    known: dict[str, Layer] = {x.name: x for x in work.prunable}
    masks = work.edited(
        scores,
        {name: from_groups(found, work.granularity, known[name]) for name, found in kept.items()},
    )
    return achieved(masks), masks


def sizes(work: FlowContext, moment: StepState) -> GroupScores:
    """The mean |w| of every group now."""
    return work.pooled(dict(moment.weights), "mean_abs")


def _spread(found: Float[Tensor, "s g"]) -> Float[Tensor, "s 1"]:
    return found.std(1, keepdim=True, unbiased=False).clamp_min(torch.finfo(found.dtype).tiny)


@dataclass(frozen=True)
class Surgery:
    """Dynamic network surgery: prune below a, splice back above b, all weights keep learning
    underneath.

    Per scope of a layer the level is mean |W| + q std |W|, a = low x level, b = high x level;
    between them a group stays as it is. It starts from the plan's share of the smallest weights,
    and q is solved once so that the first level is that cut's: the final sparsity is near the
    target, not exactly it. Raises PruningError for N:M, whose share is fixed.
    """

    help: ClassVar[str] = (
        "Prunes small weights and splices back those that have grown again: removed weights keep learning underneath. Ends near "
        "the sparsity asked for, not exactly at it."
    )
    formula: ClassVar[str] = (
        "level = mean|W| + q std|W|; m = 0 if |W| < 0.9 level; m = 1 if |W| >= 1.1 level; else as before"
    )
    needs: ClassVar[str] = "labelled images, at least one epoch; no criterion"
    passes: ClassVar[str] = "1 forward, 1 backward a step, and none besides"
    regrows: ClassVar[bool] = True
    trains: ClassVar[bool] = True
    trainings: ClassVar[tuple[int, int]] = (0, 1)
    scheduled: ClassVar[bool] = False
    label: str = "Dynamic network surgery"
    source: str = "Guo et al. 2016, arXiv:1608.04493"
    published: tuple[tuple[str, str], ...] = (("granularity", "fine"), ("allocation", "uniform"))
    low: float = setting(
        0.9, 0.1, 1.0, "The lower threshold, as a share of the level: groups below it go."
    )
    high: float = setting(
        1.1,
        1.0,
        10.0,
        "The upper threshold, as a share of the level: groups above it stay or return.",
    )
    end: float = setting(0.7, 0.05, 1.0, "When the mask is frozen, as a share of all steps.")
    updates: int = setting(30, 1, 1000, "How many times the mask is looked at.")

    def __call__(self, work: FlowContext) -> Iterator[Event]:
        need_epochs(self, work)
        if work.granularity.fixed_ratio is not None:
            raise PruningError(
                f"{work.granularity.label} fixes its share, but {self.label} lets it float: choose another shape."
            )
        found = work.pooled(
            {
                x.name: work.model.get_parameter(x.name).detach().view(x.shape)
                for x in work.prunable
            },
            "mean_abs",
        )
        _, masks = work.choose(found, 1.0)
        depth = {name: _depth(found[name], kept) for name, kept in kept_groups(work, masks).items()}
        when = dict.fromkeys(update_steps(work, 0.0, self.end, self.updates), 1.0)
        rule = Timed(
            when, lambda moment, _: self._spliced(work, moment, depth), hidden=True, dense=True
        )
        yield from trained(work, rule, work.model, masks, regrows=True)

    def _spliced(self, work: FlowContext, moment: StepState, depth: dict[str, Tensor]) -> Chosen:
        """Below the lower threshold of its scope a group goes, above the upper one it stays or
        returns; one at least stays.
        """
        found = sizes(work, moment)
        before = kept_groups(work, moment.masks)
        kept = {}
        for name, q in depth.items():
            level = found[name].mean(1, keepdim=True) + q * _spread(found[name])
            stays = before[name] & (found[name] >= self.low * level) | (
                found[name] >= self.high * level
            )
            best = found[name] >= found[name].amax(1, keepdim=True)
            kept[name] = torch.where(stays.any(1, keepdim=True), stays, best)
        return expand_groups(work, kept, found)


def _depth(found: Float[Tensor, "s g"], kept: Bool[Tensor, "s g"]) -> Float[Tensor, "s 1"]:
    """q of each scope: mean + q std is halfway between the largest removed and the smallest kept
    group; -inf where none goes.
    """
    gone = found.masked_fill(kept, -torch.inf).amax(1, keepdim=True)
    stays = found.masked_fill(~kept, torch.inf).amin(1, keepdim=True)
    return ((gone + stays) / 2 - found.mean(1, keepdim=True)) / _spread(found)


def exchanged(
    kept: Bool[Tensor, "s g"],
    sizes: Float[Tensor, "s g"],
    pulls: Float[Tensor, "s g"],
    share: float,
) -> Bool[Tensor, "s g"]:
    """Drops floor(share x kept) groups of smallest size per scope and grows as many of largest pull
    among all not kept then.
    """
    count = (kept.sum(1, keepdim=True) * share).int()
    after = kept & ~(ranks(sizes.masked_fill(~kept, torch.inf)) < count)
    return after | (ranks(-pulls.masked_fill(after, -torch.inf)) < count)


@dataclass(frozen=True)
class RigL:
    """Sparse from the start: the smallest weights drop, those with the largest gradient grow, in
    equal numbers, from zero.

    The first mask is the plan's (its criterion, allocation and sparsity); the share that changes
    falls along a half cosine. Dropped weights may grow again at once, as in the paper.
    """

    help: ClassVar[str] = (
        "Starts at the full sparsity and moves the connections: the smallest drop, those that the loss pulls most grow from zero."
    )
    formula: ClassVar[str] = (
        "drop the floor(a/2 (1 + cos(pi t/T)) n) smallest |w| of n kept, grow as many of largest |dL/dw|"
    )
    needs: ClassVar[str] = "labelled images, at least one epoch; what the criterion reads"
    passes: ClassVar[str] = (
        "1 forward, 1 backward a step, its gradients dense; the criterion's once"
    )
    regrows: ClassVar[bool] = True
    trains: ClassVar[bool] = True
    trainings: ClassVar[tuple[int, int]] = (0, 1)
    scheduled: ClassVar[bool] = False
    label: str = "RigL (drop and grow)"
    source: str = "Evci et al. 2020, arXiv:1911.11134"
    published: tuple[tuple[str, str], ...] = (
        ("granularity", "fine"),
        ("allocation", "erk"),
        ("criterion", "random"),
    )
    share: float = setting(0.3, 0.0, 1.0, "The share of the kept weights that changes at first.")
    end: float = setting(0.75, 0.05, 1.0, "When the mask is frozen, as a share of all steps.")
    updates: int = setting(20, 1, 1000, "How many times connections move.")

    def __call__(self, work: FlowContext) -> Iterator[Event]:
        need_epochs(self, work)
        _, masks = work.choose(work.score(work.model), 1.0)
        when = dict.fromkeys(update_steps(work, 0.0, self.end, self.updates), 1.0)
        end = max(1, round(self.end * steps_in_all(work)))
        rule = Timed(when, lambda moment, _: self._moved(work, moment, (moment.step + 1) / end))
        yield from trained(work, rule, work.model, masks, regrows=True)

    def _moved(self, work: FlowContext, moment: StepState, progress: float) -> Chosen:
        """The smallest kept groups go and as many of those with the largest gradient come."""
        share = self.share / 2 * (1 + math.cos(math.pi * progress))
        found = sizes(work, moment)
        pulls = work.pooled(dict(moment.slopes), "mean_abs")
        kept = {
            name: exchanged(keep, found[name], pulls[name], share)
            for name, keep in kept_groups(work, moment.masks).items()
        }
        return expand_groups(work, kept, found)
