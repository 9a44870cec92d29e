"""SEVEN as its authors released it: a cubic keep ratio and one global ranking of accumulated,
noise-corrected sensitivity.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from pruning_core.criteria.seven import Accumulated
from pruning_core.flows.masking import StepState, steps_in_all, trained
from pruning_core.flows.protocol import FRAMES, Chosen, Event, FlowContext, need_epochs, setting
from pruning_core.masks import exclude_removed, intersect
from pruning_core.model.gradients import batch_gradients
from pruning_core.model.inventory import weights
from pruning_core.types import Masks, Pruned, PruningError, Ratios

PUBLISHED = (("granularity", "fine"), ("allocation", "global"))
SOURCE = "Xiao et al. 2024 (SEVEN), arXiv:2403.12688"
BETA1 = partial(setting, 0.8, 0.0, 0.999, "Memory of the running average of |g|: near 1 is long.")
BETA2 = partial(setting, 0.9, 0.0, 0.999, "Memory of the running average of g²: near 1 is long.")
SIGNED = partial(
    setting,
    False,
    0,
    1,
    "Averages g in place of |g|, so that changing signs count as noise; not in the paper's code.",
)
CLASSIFIER = partial(
    setting, False, 0, 1, "Cuts the layer that gives the classes too; the paper leaves it whole."
)


def keep_ratio(t: int, steps: int, sparsity: float) -> float:
    """keep(t) = r_f + (1 - r_f) (1 - (t + 1) / T)^3, r_f = 1 - sparsity, t = 0, 1, ..., T - 1."""
    final = 1 - sparsity
    return final + (1 - final) * (1 - (t + 1) / steps) ** 3


class Pruner:
    """SEVEN's state: accumulated scores and the masks, which only shrink. work: what is cut, with
    the flow's choice of layers.
    """

    def __init__(self, flow: "SevenPre | SevenDyn", work: FlowContext, steps: int) -> None:
        self.work = work if flow.classifier else work.sparing_classifier()
        self._steps = steps
        self._found = Accumulated(flow.beta1, flow.beta2, flow.signed_moment)
        self.masks: Masks = {
            layer.name: torch.ones(layer.shape, dtype=torch.bool) for layer in self.work.prunable
        }
        self.ratios: Ratios = {}
        self.fraction = 0.0

    def add(self, t: int, w: Mapping[str, Tensor], g: Mapping[str, Tensor]) -> None:
        """Takes in the gradients of step t and cuts: int(keep(t) N) of all N weights stay, by the
        plan's allocation.
        """
        there = {name: mask.to(g[name].device) for name, mask in self.masks.items() if name in g}
        self._found.add(w, g, there)
        if not self.work.sparsity:
            return
        kept = (
            int(keep_ratio(t, self._steps, self.work.sparsity) * self.work.numel) / self.work.numel
        )
        self.fraction = (
            1 - kept
        ) / self.work.sparsity  # of the target, which int() may pass by less than one weight
        groups = self.work.pooled(self._found.scores, "mean_abs")
        groups = exclude_removed(groups, self.masks, self.work.prunable, self.work.granularity)
        self.ratios, found = self.work.choose(groups, self.fraction)
        self.masks = intersect(self.masks, found)


@dataclass(frozen=True)
class SevenPre:
    """SEVEN before fine-tuning: T mini-batches with the weights fixed, a cut after each, then
    training with the mask fixed.

    Starts from the trained weights. The gradient of each mini-batch is taken in evaluation mode
    with the masks of the one before.
    """

    help: ClassVar[str] = (
        "Cuts a little after every mini-batch, by what each weight has meant for the loss so far, before any fine-tuning."
    )
    formula: ClassVar[str] = (
        "S += |w g m^ / (sqrt(v^) + 1e-9)|; keep(t) = r + (1 - r)(1 - (t + 1)/T)^3, r = 1 - sparsity; t < T"
    )
    needs: ClassVar[str] = (
        "labelled images in T mini-batches, no step; epochs to train after it; no criterion"
    )
    passes: ClassVar[str] = (
        "T forward, T backward of a mini-batch; training: 1 forward, 1 backward a step"
    )
    regrows: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    trainings: ClassVar[tuple[int, int]] = (0, 1)
    scheduled: ClassVar[bool] = False
    label: str = "SEVEN before fine-tuning"
    source: str = SOURCE
    published: tuple[tuple[str, str], ...] = PUBLISHED
    steps: int = setting(100, 1, 5000, "T: mini-batches, and cuts.")
    batch: int = setting(32, 1, 4096, "Images in a mini-batch.")
    beta1: float = BETA1()
    beta2: float = BETA2()
    signed_moment: bool = SIGNED()
    classifier: bool = CLASSIFIER()

    def __call__(self, work: FlowContext) -> Iterator[Event]:
        pruner = Pruner(self, work, self.steps)
        work = pruner.work
        batches = work.batches(self.batch)
        model = work.model
        told = 0
        stride = -(-self.steps // FRAMES)
        for t in range(self.steps):
            (slopes,) = batch_gradients(
                work.answering(model), work.prunable, (next(batches),), self.batch
            )
            pruner.add(t, weights(model, work.prunable), slopes)
            model = work.apply(work.model, pruner.masks)
            if (t + 1) % stride == 0 or t + 1 == self.steps:
                told += 1
                yield Pruned(
                    told,
                    -(-self.steps // stride),
                    pruner.fraction,
                    pruner.ratios,
                    pruner.masks,
                    model,
                )
        if work.config.epochs:
            yield from work.tuned(model, pruner.masks)


@dataclass(eq=False)
class _Dynamic:
    """Cuts after every step of a window of the training."""

    pruner: Pruner
    first: int
    updates: int
    hidden: bool = False
    dense: bool = False
    held: bool = True
    recalls: bool = False

    def __call__(self, moment: StepState) -> tuple[float, Chosen] | None:
        t = moment.step - self.first
        if not 0 <= t < self.updates:
            return None
        self.pruner.add(t, moment.weights, moment.slopes)
        return self.pruner.fraction, (self.pruner.ratios, self.pruner.masks)


@dataclass(frozen=True)
class SevenDyn:
    """SEVEN while fine-tuning: t_i plain steps, then a cut after every one of T - 1 optimizer
    steps, then the mask is frozen.

    As released: the gradient before the step, the weights after it; the last cut is t = T - 2, so
    that (1 - r) / T^3 stays above the target. t_i and T are given as shares of all steps. Raises
    PruningError for a window of less than two steps.
    """

    help: ClassVar[str] = (
        "Fine-tunes a while, then cuts after every step by SEVEN's score, then recovers with the mask fixed."
    )
    formula: ClassVar[str] = (
        "S += |w g m^ / (sqrt(v^) + 1e-9)| and keep(t) after every step t_i <= step < t_i + T - 1"
    )
    needs: ClassVar[str] = (
        "labelled images, at least one epoch and two steps to cut in; no criterion"
    )
    passes: ClassVar[str] = "1 forward, 1 backward a step, and none besides"
    regrows: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    trainings: ClassVar[tuple[int, int]] = (0, 1)
    scheduled: ClassVar[bool] = False
    label: str = "SEVEN while fine-tuning"
    source: str = SOURCE
    published: tuple[tuple[str, str], ...] = PUBLISHED
    delay: float = setting(
        0.1, 0.0, 0.9, "t_i, as a share of all steps: plain fine-tuning before the first cut."
    )
    window: float = setting(0.5, 0.0, 1.0, "T, as a share of all steps: the time in which it cuts.")
    beta1: float = BETA1()
    beta2: float = BETA2()
    signed_moment: bool = SIGNED()
    classifier: bool = CLASSIFIER()

    def __call__(self, work: FlowContext) -> Iterator[Event]:
        need_epochs(self, work)
        first = round(self.delay * steps_in_all(work))
        steps = round(self.window * steps_in_all(work))
        if steps < 2 or first + steps - 1 > steps_in_all(work):
            raise PruningError(
                f"{self.label} needs at least two steps to cut in, before the training ends: set delay and window so."
            )
        pruner = Pruner(self, work, steps)
        yield from trained(
            pruner.work, _Dynamic(pruner, first, steps - 1), work.model, {}, regrows=False
        )
