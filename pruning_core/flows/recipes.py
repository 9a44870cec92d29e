"""Two simplified recipes that circulate as SEVEN, under their own names: neither is it, and the
text says how they differ.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pruning_core.criteria import CRITERIA
from pruning_core.flows.masking import StepState, steps_in_all, trained
from pruning_core.flows.protocol import Chosen, Event, FlowContext, need_single_weights, setting
from pruning_core.masks import achieved
from pruning_core.model.inventory import weights
from pruning_core.types import Pruned, PruningError

CONVOLUTIONS = ("conv1d", "conv2d", "depthwise")


def above_quantile(values: Float[Tensor, "..."], level: float) -> Bool[Tensor, "..."]:
    """|x| > the quantile of |x| at that level, strictly: the element at the threshold goes, even at level 0.

    Linear interpolation, as torch.quantile, without its limit of 2^24 elements.
    """
    sizes = values.abs()
    return sizes > torch.tensor(
        np.quantile(sizes.cpu().numpy(), level), dtype=sizes.dtype, device=sizes.device
    )


@dataclass(eq=False)
class _Again:
    """Every n steps |x| at or below a growing quantile is set to zero, and nothing holds it there
    till the next time.
    """

    recipe: "QuantileRecipe"
    work: FlowContext
    total: int
    hidden: bool = False
    dense: bool = True
    held: bool = False
    recalls: bool = False

    @property
    def updates(self) -> int:
        """How many times weights are cut, the last time after the last step."""
        return -(-self.total // self.recipe.every)

    def __call__(self, moment: StepState) -> tuple[float, Chosen] | None:
        done = moment.step + 1
        if done % self.recipe.every and done != self.total:
            return None
        read = moment.weights if self.recipe.reads == "weight" else moment.slopes
        return done / self.total, self.recipe.chosen(
            self.work, read, self.work.sparsity * done / self.total
        )


@dataclass(frozen=True)
class QuantileRecipe:
    """A quantile per layer of |W| or of one gradient |dL/dW| is the threshold: once before
    training, or again every n steps.

    Literally: strictly above it stays; a cut in training is not held, so that the optimizer revives
    weights until the next one; the level grows from 0 to the sparsity in a line. Raises
    PruningError without a layer of its kind and for another granularity.
    """

    formula: ClassVar[str] = (
        "m = |x| > quantile(|x|, level) per layer; level = sparsity, or sparsity x t/T every n steps, not held"
    )
    needs: ClassVar[str] = (
        "weights, or one gradient of labelled images; epochs where it cuts in training; no criterion"
    )
    passes: ClassVar[str] = (
        "none for weights, 1 forward, 1 backward for gradients; training: 1 forward, 1 backward a step"
    )
    regrows: ClassVar[bool] = True
    trains: ClassVar[bool] = False
    trainings: ClassVar[tuple[int, int]] = (0, 1)
    scheduled: ClassVar[bool] = False
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
        "Cuts again after so many steps, with a growing level; 0: once, before training.",
    )

    def __call__(self, work: FlowContext) -> Iterator[Event]:
        need_single_weights(self, work)
        if not self.every:
            read = (
                weights(work.model, work.prunable) if self.reads == "weight" else self._slopes(work)
            )
            ratios, masks = self.chosen(work, read, work.sparsity)
            model = work.apply(work.model, masks)
            yield Pruned(1, 1, 1.0, ratios, masks, model)
            if work.config.epochs:
                yield from work.tuned(model, masks)
            return
        if not work.config.epochs:
            raise PruningError(
                f"{self.label} cuts again while the network trains: give it at least one epoch, or cut once."
            )
        yield from trained(
            work, _Again(self, work, steps_in_all(work)), work.model, {}, regrows=True
        )

    def chosen(self, work: FlowContext, read: Mapping[str, Tensor], level: float) -> Chosen:
        """The masks at a level of the quantile."""
        names = [x.name for x in work.prunable if not self.kinds or x.kind in self.kinds]
        if not names:
            raise PruningError(
                f"{self.label} cuts convolutions alone, and this network has none: choose another flow."
            )
        masks = {name: above_quantile(read[name], level).cpu() for name in names}
        return achieved(masks), masks

    def _slopes(self, work: FlowContext) -> Mapping[str, Tensor]:
        return CRITERIA["gradient"](work.answering(work.model), work.prunable, work.calibration())


MAGNITUDE_QUANTILE = QuantileRecipe(
    "Quantile of |W| (blog recipe)",
    "Per convolution, weights at or below a quantile of |W| go. Often told as SEVEN; it reads no gradient, ranks each layer "
    "alone and, repeated, lets the optimizer revive what it cut.",
    "weight",
    CONVOLUTIONS,
)
GRADIENT_QUANTILE = QuantileRecipe(
    "Quantile of |dL/dW| (blog recipe)",
    "Per layer, weights at or below a quantile of one gradient's size go. SEVEN sums |w g| over mini-batches, corrects for noise "
    "and ranks all layers together.",
    "gradient",
)
