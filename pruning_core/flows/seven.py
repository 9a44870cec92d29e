"""SEVEN's two flows as its authors released them, before and during training."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from pruning_core.criteria.seven import AccumulatedScores
from pruning_core.flows.masking import RuleDefaults, StepState, total_steps, train_with_rule
from pruning_core.flows.protocol import (
    FRAMES,
    Chosen,
    Event,
    FlowContext,
    FlowDefaults,
)
from pruning_core.masks import exclude_removed, intersect
from pruning_core.model.gradients import batch_gradients
from pruning_core.model.inventory import weights
from pruning_core.settings import setting
from pruning_core.training.state_files import State
from pruning_core.types import Masks, Pruned, PruningError, Ratios

PUBLISHED = (("granularity", "fine"), ("allocation", "global"))
SOURCE = "Xiao et al. 2024 (SEVEN), arXiv:2403.12688"
BETA1 = partial(
    setting,
    0.8,
    0.0,
    0.999,
    "Memory of the running average of |g|. Near 1: long memory.",
    label="β₁, decay of |g|",
)
BETA2 = partial(
    setting,
    0.9,
    0.0,
    0.999,
    "Memory of the running average of g². Near 1: long memory.",
    label="β₂, decay of g²",
)
SIGNED = partial(
    setting,
    False,
    0,
    1,
    "Average g instead of |g|, so that changing signs count as noise. Not in the paper's code.",
    label="Signed average",
)
CLASSIFIER = partial(
    setting,
    False,
    0,
    1,
    "Prune the output layer too. The paper keeps it whole.",
    label="Prune the classifier",
)


def keep_ratio(t: int, steps: int, sparsity: float) -> float:
    """keep(t) = r + (1 - r) (1 - (t + 1) / T)^3, r = 1 - sparsity, t = 0, 1, ..., T - 1."""
    final = 1 - sparsity
    return final + (1 - final) * (1 - (t + 1) / steps) ** 3


class Pruner:
    """The state of SEVEN: accumulated scores, and masks from which weights are only removed.

    context: with the layers that the flow prunes.
    """

    def __init__(self, flow: "SevenPre | SevenDyn", context: FlowContext, steps: int) -> None:
        self.context = context if flow.classifier else context.without_output_layer()
        self._steps = steps
        self._accumulated = AccumulatedScores(flow.beta1, flow.beta2, flow.signed_moment)
        self.masks: Masks = {
            layer.name: torch.ones(layer.shape, dtype=torch.bool) for layer in self.context.layers
        }
        self.ratios: Ratios = {}
        self.fraction = 0.0

    def state_dict(self) -> State:
        own = {"masks": self.masks, "ratios": self.ratios, "fraction": self.fraction}
        return {"accumulated": self._accumulated.state_dict(), **own}

    def load_state_dict(self, state: State) -> None:
        self._accumulated.load_state_dict(state["accumulated"])
        self.masks = state["masks"]
        self.ratios = state["ratios"]
        self.fraction = state["fraction"]

    def add(self, t: int, w: Mapping[str, Tensor], g: Mapping[str, Tensor]) -> None:
        """Adds the gradients of step t and prunes: int(keep(t) N) of all N weights are kept."""
        kept = {name: mask.to(g[name].device) for name, mask in self.masks.items() if name in g}
        self._accumulated.add(w, g, kept)
        plan = self.context.plan
        if not plan.sparsity:
            return
        total = self.context.numel
        kept_share = int(keep_ratio(t, self._steps, plan.sparsity) * total) / total
        # int() rounds down, so the share of the target may exceed 1 by less than one weight.
        self.fraction = (1 - kept_share) / plan.sparsity
        groups = self.context.pooled(self._accumulated.scores, "mean_abs")
        groups = exclude_removed(groups, self.masks, self.context.layers, plan.granularity)
        self.ratios, chosen = plan.choose(groups, self.fraction)
        self.masks = intersect(self.masks, chosen)


@dataclass(frozen=True)
class SevenPre(FlowDefaults):
    """SEVEN before fine-tuning: prune after each of T mini-batches, then train.

    The weights are fixed until the T mini-batches are done. It starts from the trained weights.
    Each mini-batch's gradient is computed in evaluation mode, with the masks of the one before.
    """

    help: str = (
        "Prunes a little after every mini-batch, by the accumulated sensitivity of each weight, "
        "before any fine-tuning."
    )
    formula: str = (
        "S += |w g m^ / (sqrt(v^) + 1e-9)|; keep(t) = r + (1 - r)(1 - (t + 1)/T)^3, "
        "r = 1 - sparsity; t < T"
    )
    needs: ClassVar[str] = (
        "labelled images in T mini-batches; epochs for the training after it; no criterion"
    )
    passes: ClassVar[str] = (
        "T forward, T backward of a mini-batch; training: 1 forward, 1 backward per step"
    )
    trains: ClassVar[bool] = False
    label: str = "SEVEN before fine-tuning"
    source: str = SOURCE
    published: tuple[tuple[str, str], ...] = PUBLISHED
    steps: int = setting(
        100,
        1,
        5000,
        "T: the number of mini-batches, with a pruning after each.",
        label="Mini-batches (T)",
    )
    batch: int = setting(32, 1, 4096, "Images in a mini-batch.", label="Images per batch")
    beta1: float = BETA1()
    beta2: float = BETA2()
    signed_moment: bool = SIGNED()
    classifier: bool = CLASSIFIER()

    def __call__(self, context: FlowContext) -> Iterator[Event]:
        pruner = Pruner(self, context, self.steps)
        context = pruner.context
        batches = context.batches(self.batch)
        model = context.model
        stride = -(-self.steps // FRAMES)
        reports = -(-self.steps // stride)
        for t in range(self.steps):
            (gradients,) = batch_gradients(
                context.for_classes(model),
                context.layers,
                context.of_task(next(batches)),
                self.batch,
            )
            pruner.add(t, weights(model, context.layers), gradients)
            model = context.plan.masked_copy(pruner.masks)
            if (t + 1) % stride == 0 or t + 1 == self.steps:
                report = -(-(t + 1) // stride)
                yield Pruned(report, reports, pruner.fraction, pruner.ratios, pruner.masks, model)
        if context.config.epochs:
            yield from context.fine_tune(model, pruner.masks)


@dataclass(eq=False)
class _EveryStep(RuleDefaults):
    """Prunes after every step of a part of the training."""

    pruner: Pruner
    first: int
    updates: int

    def __call__(self, state: StepState) -> tuple[float, Chosen] | None:
        t = state.step - self.first
        if not 0 <= t < self.updates:
            return None
        self.pruner.add(t, state.weights, state.gradients)
        return self.pruner.fraction, (self.pruner.ratios, self.pruner.masks)


@dataclass(frozen=True)
class SevenDyn(FlowDefaults):
    """SEVEN during fine-tuning: prune after every one of T - 1 steps, then fix the mask.

    First t_i steps without pruning. As released: the gradient before the step, the weights after
    it. The last pruning is t = T - 2, so (1 - r) / T^3 more than the target is kept. t_i and T are
    given as shares of all steps. Raises PruningError for T below two steps.
    """

    help: str = (
        "Fine-tunes at first, then prunes after every step by SEVEN's score, then fine-tunes with "
        "a fixed mask."
    )
    formula: str = (
        "S += |w g m^ / (sqrt(v^) + 1e-9)| and keep(t) after every step t_i <= step < t_i + T - 1"
    )
    needs: ClassVar[str] = (
        "labelled images, at least one epoch and two steps for pruning; no criterion"
    )
    label: str = "SEVEN during fine-tuning"
    source: str = SOURCE
    published: tuple[tuple[str, str], ...] = PUBLISHED
    delay: float = setting(
        0.1,
        0.0,
        0.9,
        "t_i, as a fraction of all steps: fine-tuning before the first pruning.",
        label="First pruning at (t)",
    )
    window: float = setting(
        0.5,
        0.0,
        1.0,
        "T, as a fraction of all steps: the part in which it prunes.",
        label="Pruning during (T)",
    )
    beta1: float = BETA1()
    beta2: float = BETA2()
    signed_moment: bool = SIGNED()
    classifier: bool = CLASSIFIER()

    def __call__(self, context: FlowContext) -> Iterator[Event]:
        total = total_steps(context)
        first = round(self.delay * total)
        steps = round(self.window * total)
        if steps < 2 or first + steps - 1 > total:
            raise PruningError(
                f"{self.label} needs at least two steps for pruning before the training ends: "
                "change delay and window."
            )
        pruner = Pruner(self, context, steps)
        rule = _EveryStep(pruner, first, steps - 1, kept={"pruner": pruner})
        yield from train_with_rule(pruner.context, rule, context.model, {}, regrows=False)
