"""What a flow is, what it works with, and its settings."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from pruning_core.masks import group_scores, intersect
from pruning_core.model.inventory import without_classifier
from pruning_core.model.model_io import with_selected_logits
from pruning_core.registry import Described, Entry
from pruning_core.resolved_plan import ResolvedPlan
from pruning_core.training.config import TrainConfig
from pruning_core.training.fine_tune import fine_tune
from pruning_core.training.journal import Journal
from pruning_core.types import (
    Dataset,
    Epoch,
    GoalRound,
    GroupScores,
    Inputs,
    Layer,
    Masks,
    Pruned,
    PruningError,
    Ratios,
    Resumed,
    Scores,
    Step,
    TaskBatches,
    Tuned,
)

Event = Pruned | Resumed | Step | Epoch | Tuned | GoalRound
Chosen = tuple[Ratios, Masks]
FRAMES = 24
"""A flow that changes its masks in very many steps reports about this many, always the last."""


@dataclass(frozen=True)
class Share:
    """The share of the dense network's cost that remains. note: a sentence on it, "" for none."""

    left: float
    note: str = ""


@dataclass(frozen=True, eq=False)
class FlowContext:
    """What a flow works with.

    plan: the axes as objects, and the space with model and data; layers: those that the flow may
    prune; config: how it trains; costs: what the network with such masks costs, by the names of the
    goal's budgets, besides the counts; journal: of a run that can continue after an interruption.
    """

    plan: ResolvedPlan
    layers: tuple[Layer, ...]
    config: TrainConfig
    device: torch.device | None = None
    costs: Mapping[str, Callable[[Masks], Share]] = field(default_factory=dict)
    journal: Journal | None = None

    @property
    def model(self) -> nn.Module:
        """The base model, without what the start removes. Never change it."""
        return self.plan.base_model

    @property
    def dataset(self) -> Dataset:
        """The data of the space."""
        return self.plan.space.dataset

    @property
    def numel(self) -> int:
        """The number of weights in the layers that the flow may prune."""
        return sum(layer.numel for layer in self.layers)

    def without_output_layer(self) -> "FlowContext":
        """The same without the layer that gives the model's outputs.

        Raises PruningError where no other layer can be pruned.
        """
        others = without_classifier(self.layers)
        if not others:
            raise PruningError(
                "Only the layer that gives the model's outputs can be pruned so, "
                "and this flow keeps that layer whole."
            )
        return replace(self, layers=others)

    def pooled(self, scores: Scores, pool: str) -> GroupScores:
        """Scores per weight -> scores per group, on the CPU."""
        weights = {layer.name: scores[layer.name].detach().cpu() for layer in self.layers}
        scores = group_scores(weights, self.layers, self.plan.granularity, pool)
        return self.plan.tied_scores(scores)

    def batches(self, size: int) -> Iterator[tuple[Inputs, Tensor]]:
        """Training mini-batches without end, in an order fixed by the training seed."""
        epoch = 0
        while True:
            yield from self.dataset.train.shuffled(size, self.config.seed * 1_000_003 + epoch)
            epoch += 1

    def of_task(self, batch: tuple[Inputs, Tensor]) -> TaskBatches:
        """A mini-batch whose loss is the task's."""
        return TaskBatches((batch,), self.dataset.task)

    def for_classes(self, model: nn.Module) -> nn.Module:
        """The model with the logits of the data's classes alone, for a loss."""
        return with_selected_logits(model, self.dataset.outputs)

    def fine_tune(self, model: nn.Module, masks: Masks, **more: Any) -> Iterator[Event]:
        """`training.fine_tune` by the plan's settings, with the masks and the start held."""
        masks = intersect(masks, self.plan.start)
        return fine_tune(
            model,
            masks,
            self.plan.space.layers,
            self.dataset,
            self.config,
            self.device,
            self.plan.dependent_masks(masks),
            journal=self.journal,
            **more,
        )


@runtime_checkable
class Flow(Entry, Protocol):
    """A flow is a frozen dataclass with one field per setting; called, it yields events.

    The last Pruned event has the final masks, the last Pruned or Tuned event the final model.

    needs, passes: what it reads and what it costs, for people; regrows: removed weights may
    return; trains: it needs at least one epoch; trainings: how many trainings it has per round of
    the schedule, and besides; scheduled: the plan's schedule says when it prunes; scored: the
    plan's criterion ranks what it prunes; allocated: the plan's allocation divides the target over
    the layers; single_weights: it prunes at the fine-grained granularity alone; published: plan
    fields with the values of the paper. `FlowDefaults` gives a value to each of them.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    needs: ClassVar[str]
    passes: ClassVar[str]
    regrows: ClassVar[bool]
    trains: ClassVar[bool]
    trainings: ClassVar[tuple[int, int]]
    scheduled: ClassVar[bool]
    scored: ClassVar[bool]
    allocated: ClassVar[bool]
    single_weights: ClassVar[bool]

    @property
    def published(self) -> tuple[tuple[str, str], ...]: ...

    def __call__(self, context: FlowContext) -> Iterator[Event]: ...


@dataclass(frozen=True, kw_only=True)
class FlowDefaults(Described):
    """The usual facts of a flow: one training, in which it prunes by rules of its own.

    A new flow is a frozen dataclass with this base, a label, formula and source, and
    `__call__(self, context)`. It states only the facts that differ. Its help is the first sentence
    of its docstring, unless it has its own.
    """

    needs: ClassVar[str] = "labelled images, at least one epoch; no criterion"
    passes: ClassVar[str] = "1 forward, 1 backward per step"
    regrows: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    trainings: ClassVar[tuple[int, int]] = (0, 1)
    scheduled: ClassVar[bool] = False
    scored: ClassVar[bool] = False
    allocated: ClassVar[bool] = True
    single_weights: ClassVar[bool] = False
    published: tuple[tuple[str, str], ...] = ()


def least_met(met: Callable[[float], bool], low: float, high: float, steps: int) -> float:
    """The least number in the range that meets a condition, by bisection; `high` meets it.

    >>> least_met(lambda x: x >= 0.3, 0.0, 1.0, 2)
    0.5
    """
    for _ in range(steps):
        middle = (low + high) / 2
        if met(middle):
            high = middle
        else:
            low = middle
    return high


def flow_events(flow: Flow, context: FlowContext) -> Iterator[Event]:
    """The events of a flow.

    Raises PruningError where a flow that prunes during training (`trains`) has no epoch, and where
    one that prunes single weights (`single_weights`) has another granularity.
    """
    if flow.trains and not context.config.epochs:
        raise PruningError(f"{flow.label} prunes during training: set at least one epoch.")
    if flow.single_weights and not context.plan.granularity.unstructured:
        raise PruningError(
            f"{flow.label} prunes single weights by a rule of its own: "
            "choose the fine-grained granularity."
        )
    return flow(context)
