"""Two simplified recipes from blog posts about SEVEN; neither of them is SEVEN."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pruning_core.criteria import CRITERIA
from pruning_core.flows.masking import RuleDefaults, StepState, total_steps, train_with_rule
from pruning_core.flows.protocol import (
    Chosen,
    Event,
    FlowContext,
    FlowDefaults,
)
from pruning_core.masks import achieved, intersect
from pruning_core.model.inventory import weights
from pruning_core.model.precision import HALVES
from pruning_core.settings import setting
from pruning_core.types import Pruned, PruningError

CONVOLUTIONS = ("conv1d", "conv2d", "depthwise")


def above_quantile(values: Float[Tensor, "..."], level: float) -> Bool[Tensor, "..."]:
    """Which |x| are strictly above the quantile of |x| at that level.

    The element at the threshold is not above it, not even at level 0. Linear interpolation, as
    torch.quantile does, without its limit of 2^24 elements.
    """
    sizes = values.abs().float() if values.dtype in HALVES else values.abs()
    threshold = np.quantile(sizes.cpu().numpy(), level)
    return sizes > torch.tensor(threshold, dtype=sizes.dtype, device=sizes.device)


def _above(values: Tensor, level: float) -> Tensor:
    """As `above_quantile`; values that are all zero have no order, so that all are kept."""
    return above_quantile(values, level) if values.any() else torch.ones_like(values).bool()


@dataclass(eq=False, kw_only=True)
class _EveryNSteps(RuleDefaults):
    """Every n steps, sets |x| up to a growing quantile to zero; between, weights move freely."""

    recipe: "QuantileRecipe"
    context: FlowContext
    total: int
    trains_removed: bool = True
    holds_zeros: bool = False

    @property
    def updates(self) -> int:
        """How many times weights are set to zero, the last time after the last step."""
        return -(-self.total // self.recipe.every)

    def __call__(self, state: StepState) -> tuple[float, Chosen] | None:
        done = state.step + 1
        if done % self.recipe.every and done != self.total:
            return None
        values = state.weights if self.recipe.reads == "weight" else state.gradients
        level = self.context.plan.sparsity * done / self.total
        return done / self.total, self.recipe.masks_at(self.context, values, level)


@dataclass(frozen=True, kw_only=True)
class QuantileRecipe(FlowDefaults):
    """Remove what is at or below a quantile of |W|, or of one gradient |dL/dW|, in each layer.

    Once before training, or again every n steps. As in the posts: strictly above the threshold
    is kept; zeros set during training are not held, so the optimizer revives weights until the
    next time. Not as in the posts: their level is 0.01, or 0.01 x epoch / epochs every 100 steps;
    here it is the plan's sparsity, and grows on a line at every update, the last step included.
    Raises PruningError without a layer of its kind, and for another granularity.
    """

    formula: str = (
        "m = |x| > quantile(|x|, level) per layer; level = sparsity, "
        "or sparsity x t/T every n steps, not held"
    )
    needs: ClassVar[str] = (
        "weights, or one gradient of labelled images; epochs where it prunes during training; "
        "no criterion"
    )
    passes: ClassVar[str] = (
        "none for weights, 1 forward, 1 backward for gradients; "
        "training: 1 forward, 1 backward per step"
    )
    regrows: ClassVar[bool] = True
    trains: ClassVar[bool] = False
    allocated: ClassVar[bool] = False
    single_weights: ClassVar[bool] = True
    label: str
    help: str
    reads: str
    kinds: tuple[str, ...] = ()
    source: str = (
        "a recipe of blog posts about SEVEN (Xiao et al. 2024, arXiv:2403.12688), which it is not"
    )
    published: tuple[tuple[str, str], ...] = (("granularity", "fine"),)
    every: int = setting(
        0,
        0,
        100_000,
        "Prune again after this many steps, with a growing level. 0: once, before training.",
        label="Prune every n steps",
    )

    def __call__(self, context: FlowContext) -> Iterator[Event]:
        if not self.every:
            yield from self._once(context)
            return
        if not context.config.epochs:
            raise PruningError(
                f"{self.label} prunes again during training: "
                "set at least one epoch, or prune once (every = 0)."
            )
        rule = _EveryNSteps(recipe=self, context=context, total=total_steps(context), kept={})
        yield from train_with_rule(context, rule, context.model, {}, regrows=True)

    def _once(self, context: FlowContext) -> Iterator[Event]:
        read = self._weights if self.reads == "weight" else self._gradients
        ratios, masks = self.masks_at(context, read(context), context.plan.sparsity)
        model = context.plan.masked_copy(masks)
        yield Pruned(1, 1, 1.0, ratios, masks, model)
        if context.config.epochs:
            yield from context.fine_tune(model, masks)

    def masks_at(self, context: FlowContext, values: Mapping[str, Tensor], level: float) -> Chosen:
        """Ratios and masks at a level of the quantile.

        Raises PruningError where the network has no layer of these kinds.
        """
        names = [x.name for x in context.layers if not self.kinds or x.kind in self.kinds]
        if not names:
            raise PruningError(
                f"{self.label} prunes convolutions alone, and this network has none: "
                "choose another flow."
            )
        start = context.plan.start
        masks = {}
        for name in names:
            # What is removed at the start is lowest, so that it counts in the level.
            kept = start[name].to(values[name].device) if name in start else True
            masks[name] = _above(values[name] * kept, level).cpu()
        masks = intersect(masks, start)
        return achieved(masks), masks

    def _weights(self, context: FlowContext) -> Mapping[str, Tensor]:
        return weights(context.model, context.layers)

    def _gradients(self, context: FlowContext) -> Mapping[str, Tensor]:
        return CRITERIA["gradient"](
            context.for_classes(context.model), context.layers, context.plan.calibration_batches()
        )


MAGNITUDE_QUANTILE = QuantileRecipe(
    label="Quantile of |W| (blog recipe)",
    help=(
        "Removes the weights of each convolution at or below a quantile of |W|. Blog posts call it "
        "SEVEN; it reads no gradient, ranks each layer alone and, where it is repeated, lets the "
        "optimizer revive removed weights. The level is the target; in the posts it is 0.01."
    ),
    reads="weight",
    kinds=CONVOLUTIONS,
)
GRADIENT_QUANTILE = QuantileRecipe(
    label="Quantile of |dL/dW| (blog recipe)",
    help=(
        "Removes the weights of each layer at or below a quantile of one gradient's absolute "
        "value. SEVEN instead sums |w g| over mini-batches, corrects for noise and ranks all "
        "layers together. The level is the target; in the posts it is 0.01."
    ),
    reads="gradient",
)
