"""What every flow offers and what it works with."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from pruning_core.granularity import Granularity
from pruning_core.masks import group_scores
from pruning_core.model.inventory import without_classifier
from pruning_core.model.model_io import answering
from pruning_core.schedule import Schedule
from pruning_core.training.fine_tune import Silent, TrainConfig, fine_tune
from pruning_core.types import (
    Batches,
    Dataset,
    Epoch,
    GroupScores,
    Inputs,
    Layer,
    Masks,
    Pruned,
    PruningError,
    Ratios,
    Scores,
    Step,
    Tuned,
)

Event = Pruned | Step | Epoch | Tuned
Chosen = tuple[Ratios, Masks]
FRAMES = 24
"""Of masks that change in very many steps about so many are told, the last one always."""


@dataclass(frozen=True, eq=False)
class FlowContext:
    """A plan made ready for a flow: the network, what may be cut in it, and the plan's own axes as
    functions.

    layers: all; able: those that the plan can cut; sparsity: target over the able layers. score:
    the plan's criterion on a model; choose: group scores of able layers and a share of the target
    in [0, 1] -> ratios and masks by the plan's allocation, granularity and hand edits; edited: the
    hand edits alone; apply: a copy with masks applied; silence: what falls silent with them; fresh:
    the network newly initialised from a seed; calibration: the images that criteria read.
    """

    model: nn.Module
    layers: tuple[Layer, ...]
    prunable: tuple[Layer, ...]
    granularity: Granularity
    dataset: Dataset
    config: TrainConfig
    schedule: Schedule
    sparsity: float
    score: Callable[[nn.Module], GroupScores]
    choose: Callable[[GroupScores, float], Chosen]
    edited: Callable[[GroupScores, Masks], Masks]
    apply: Callable[[nn.Module, Masks], nn.Module]
    silence: Callable[[Masks], Silent]
    fresh: Callable[[int], nn.Module]
    calibration: Callable[[], Batches]
    device: torch.device | None = None

    @property
    def numel(self) -> int:
        """Weights that may be cut."""
        return sum(layer.numel for layer in self.prunable)

    def sparing_classifier(self) -> "FlowContext":
        """The same without the layer that gives the model's outputs. Raises PruningError where
        nothing else can be cut.
        """
        left = without_classifier(self.prunable)
        if not left:
            raise PruningError(
                "Only the layer that gives the model's outputs can be cut so, and this flow leaves it whole."
            )
        return replace(self, prunable=left)

    def pooled(self, scores: Scores, pool: str) -> GroupScores:
        """Scores per weight as scores per group, on the CPU."""
        here = {layer.name: scores[layer.name].detach().cpu() for layer in self.prunable}
        return group_scores(here, self.prunable, self.granularity, pool)

    def batches(self, size: int) -> Iterator[tuple[Inputs, Tensor]]:
        """Training mini-batches without end, in an order fixed by the training seed."""
        epoch = 0
        while True:
            yield from self.dataset.train.shuffled(size, self.config.seed * 1_000_003 + epoch)
            epoch += 1

    def answering(self, model: nn.Module) -> nn.Module:
        """The model with the logits of the data's classes alone, for losses."""
        return answering(model, self.dataset.outputs)

    def tuned(self, model: nn.Module, masks: Masks, **more: Any) -> Iterator[Event]:
        """Fine-tunes with the masks held, by the plan's settings."""
        return fine_tune(
            model,
            masks,
            self.layers,
            self.dataset,
            self.config,
            self.device,
            self.silence(masks),
            **more,
        )


@runtime_checkable
class Flow(Protocol):
    """A frozen dataclass, one field per knob; called, it yields events.

    label, help, formula, source, needs, passes: for people, the last two what it costs; regrows:
    removed weights may come back; trains: it needs at least one epoch; trainings: how many it has
    for each round of the schedule, and besides; scheduled: the plan's schedule says when it cuts;
    published: plan fields as the paper has them. The last Pruned event has the final masks, the
    last Pruned or Tuned event the final model.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    formula: ClassVar[str]
    needs: ClassVar[str]
    passes: ClassVar[str]
    regrows: ClassVar[bool]
    trains: ClassVar[bool]
    trainings: ClassVar[tuple[int, int]]
    scheduled: ClassVar[bool]

    @property
    def label(self) -> str: ...

    @property
    def help(self) -> str: ...

    @property
    def source(self) -> str: ...

    @property
    def published(self) -> tuple[tuple[str, str], ...]: ...

    def __call__(self, work: FlowContext) -> Iterator[Event]: ...


@dataclass(frozen=True)
class Setting:
    """A setting of a flow. default: bool, int or float, which is its type; least, most: the range
    it may have.
    """

    name: str
    default: bool | int | float
    least: int | float
    most: int | float
    help: str


def setting(default: bool | int | float, least: int | float, most: int | float, text: str) -> Any:
    """A dataclass field that is a setting of a flow."""
    return field(default=default, metadata={"knob": (default, least, most, text)})


def settings_of(flow: Flow) -> tuple[Setting, ...]:
    """The settings of a flow."""
    found = flow.__dataclass_fields__.items()
    return tuple(
        Setting(name, *each.metadata["knob"]) for name, each in found if "knob" in each.metadata
    )


def need_epochs(flow: Flow, work: FlowContext) -> None:
    """Raises PruningError where a flow that prunes while it trains has no training."""
    if flow.trains and not work.config.epochs:
        raise PruningError(
            f"{flow.label} prunes while the network trains: give it at least one epoch."
        )


def need_single_weights(flow: Flow, work: FlowContext) -> None:
    """Raises PruningError where a flow that cuts single weights by its own rule has another
    granularity.
    """
    if work.granularity.name != "fine":
        raise PruningError(
            f"{flow.label} cuts single weights by a rule of its own: choose the fine-grained shape of a cut for it."
        )
