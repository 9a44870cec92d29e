"""The data types of the project: layers, scores, ratios, masks, data, events."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from pruning_core.errors import Cancelled as Cancelled
from pruning_core.errors import DataMissing as DataMissing
from pruning_core.errors import PruningError as PruningError
from pruning_core.errors import ResourceFailed as ResourceFailed
from pruning_core.tasks.classification import CLASSIFICATION
from pruning_core.tasks.task import Evaluation as Evaluation
from pruning_core.tasks.task import Task

Scores = dict[str, Float[Tensor, "_o _i _h _w"]]
"""Saliency per weight, by parameter name, in the OIHW view. High = keep."""
GroupScores = dict[str, Float[Tensor, "_s _g"]]
"""Saliency per group, by parameter name: scope x group. High = keep."""
Masks = dict[str, Bool[Tensor, "_o _i _h _w"]]
"""Mask per parameter name, in the OIHW view. True = keep."""
ParameterMasks = Mapping[str, Bool[Tensor, "..."]]
"""Mask per parameter name, in the parameter's own shape; True = keep."""
GivenMasks = Mapping[str, Tensor | np.ndarray]
"""Masks as users have them; `model.mask_forms.checked_masks` makes `Masks` of them."""
Ratios = dict[str, float]
"""Fraction of the groups to remove, by parameter name, in [0, 1]."""
Inputs = Tensor | tuple[Tensor, ...] | Mapping[str, Tensor]
"""A batch for a model: one tensor, several in order, or several by name, such as input_ids.

The first axis counts the samples.
"""
Example = tuple[int, ...] | Inputs
"""What one input is like: its shape C x H x W, or a batch, of which the first sample is read."""
Batches = Sequence[tuple[Inputs, Tensor]]
"""Inputs as the model reads them, and their targets, such as integer labels."""


class TaskBatches(tuple[tuple[Inputs, Tensor], ...]):
    """Batches of a task: a loss on them is the task's loss."""

    task: Task

    def __new__(cls, batches: Iterable[tuple[Inputs, Tensor]], task: Task) -> "TaskBatches":
        made = super().__new__(cls, batches)
        made.task = task
        return made


def task_of(batches: Batches) -> Task:
    """The task of the batches; classification where they do not name one."""
    return batches.task if isinstance(batches, TaskBatches) else CLASSIFICATION


LINEAR_KINDS = ("linear", "adapted", "attention_in", "attention_proj", "attention_out")


@dataclass(frozen=True)
class Layer:
    """A parameter that can be pruned.

    name: its key in `state_dict`. module: path of the module that owns it.
    kind: conv1d | conv2d | conv3d | depthwise | conv_transpose1d | conv_transpose2d |
    conv_transpose3d | linear | attention_in | attention_proj | attention_out | adapted (a Linear
    with a LoRA adapter beside it) | bilinear | rnn | embedding | matrix (a parameter that no module
    of a known kind owns) | stacked (several matrices in one parameter) | experts (such matrices,
    of which a router chooses).
    shape: in the OIHW view. param_shape: as stored. layout: how the view follows from it, as an
    einops pattern with g groups; "" where the order of the weights is the same.
    groups: of a grouped convolution. macs: multiply-adds per image that read this weight.
    called: the weight is read inside calls of its own module, if at all.
    bn: path of the batch norm that follows, if there is one with a scale.
    heads: number of attention heads, or of groups of heads that share a key and a value; 0 if none.
    attention: path of the module that they belong to.
    aliases: other names of a tied weight.
    is_output: its output is the model's output, so its rows are the classes.
    is_first: it is the model's first convolution.
    """

    name: str
    module: str
    kind: str
    shape: tuple[int, int, int, int]
    param_shape: tuple[int, ...]
    groups: int = 1
    macs: int = 0
    bn: str | None = None
    heads: int = 0
    attention: str = ""
    aliases: tuple[str, ...] = ()
    is_output: bool = False
    is_first: bool = False
    layout: str = ""
    called: bool = True

    @cached_property
    def numel(self) -> int:
        """Number of weights."""
        o, i, h, w = self.shape
        return o * i * h * w

    @property
    def fused(self) -> bool:
        """Does an nn.MultiheadAttention read it directly, without a module of its own?"""
        return self.heads > 0 and self.name.rpartition(".")[::2] != (self.module, "weight")

    @property
    def linear(self) -> bool:
        """Is it the weight of a Linear, with inputs and outputs along the last axis?"""
        return self.kind in LINEAR_KINDS and not self.fused


@dataclass(frozen=True)
class Unprunable:
    """A parameter that cannot be pruned, and the reason."""

    name: str
    shape: tuple[int, ...]
    reason: str


@runtime_checkable
class Split(Protocol):
    """Images, or other inputs, with their targets, in a fixed order.

    labels: the targets, first axis = samples; of classification one integer per sample.
    """

    @property
    def labels(self) -> Shaped[Tensor, "n ..."]: ...

    def __len__(self) -> int: ...

    def batches(self, size: int) -> Iterator[tuple[Inputs, Tensor]]:
        """Batches as the model reads them (normalised), in order, on the CPU."""
        ...

    def shuffled(
        self, size: int, seed: int, augment: bool = False
    ) -> Iterator[tuple[Inputs, Tensor]]:
        """The batches of one training epoch, in an order fixed by `seed`."""
        ...

    def subset(self, indices: Sequence[int]) -> "Split": ...

    def images(self, indices: Sequence[int]) -> Float[Tensor, "k c h w"]:
        """The images, in [0, 1], for display."""
        ...


@dataclass(frozen=True)
class Dataset:
    """Train, validation and test splits.

    shape: C x H x W, read only by the zoo and the pages; 1 x 1 x length for tokens.
    outputs: which logits stand for the classes; None = all, in order.
    notes: sentences on how the data was read, such as which splits were made.
    task: what the network is for: its loss, and its value on a split.
    """

    name: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    train: Split
    val: Split
    test: Split
    outputs: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()
    task: Task = CLASSIFICATION


@dataclass(frozen=True)
class Step:
    """One optimizer step is done. epoch and step are counted from 1. loss: of this batch."""

    epoch: int
    step: int
    steps: int
    loss: float


@dataclass(frozen=True)
class Resumed:
    """An interrupted training continues after that epoch. steps: the number of its earlier steps
    whose events come next, as they came before the interruption.
    """

    epoch: int
    epochs: int
    steps: int


@dataclass(frozen=True, eq=False)
class Epoch:
    """One epoch of training is done.

    evaluation: on the validation split. best: this is the best epoch up to now.
    """

    epoch: int
    epochs: int
    train_loss: float
    evaluation: Evaluation
    best: bool


@dataclass(frozen=True, eq=False)
class Tuned:
    """The last event of fine-tuning: a new model with the best epoch's weights, masks kept."""

    model: nn.Module
    best_epoch: int
    evaluation: Evaluation


@dataclass(frozen=True)
class SensitivityPoint:
    """The measurement of one layer pruned alone, or of tied layers pruned together.

    sparsity: requested. achieved: the nearest that whole groups of this layer allow.
    value: of the task, on n samples. interval: its 95% interval.
    change: value minus the dense network's. change_interval: its paired 95% interval, of zero width
    where nothing was removed, because it is the same network.
    group: the layers pruned together, () for a single one.
    why: the reason if the layer cannot be pruned.
    in_full: the reason if no part of the network can run alone: then every point took a full
    forward pass, with the same numbers.
    """

    parameter: str
    granularity: str
    sparsity: float
    achieved: float
    loss: float
    value: float
    n: int
    interval: tuple[float, float]
    change: float = 0.0
    change_interval: tuple[float, float] = (0.0, 0.0)
    group: tuple[str, ...] = ()
    why: str | None = None
    in_full: str | None = None
    task: Task = field(default=CLASSIFICATION, repr=False)

    @property
    def no_op(self) -> bool:
        """Was a ratio requested but nothing removed? Such a point does not show sensitivity."""
        return self.sparsity > 0 and self.achieved == 0


@dataclass(frozen=True)
class Report:
    """Computed counts of a masked model. MACs: multiply-adds per image.

    macs_effective: sum over layers of MACs x kept fraction.
    dense_bytes: dense storage of all parameters and buffers.
    sparsity_masked: over the masked tensors. sparsity_model: over all parameters.
    kept: the kept fraction of each layer.
    thinned_nonzeros, thinned_macs: nonzeros and macs_effective without the weights that read only
    removed channels. A narrower network would not have these weights. None where they are not
    known, and where less than whole outputs is removed.
    sparsity_start: the fraction of all prunable weights that was removed before pruning; None for a
    dense start.
    thinned_outputs: how many outputs each layer has in the narrower network, by its name, without
    layers of attention; {} where it is not known.
    """

    parameters: int
    nonzeros: int
    macs: int
    macs_effective: int
    dense_bytes: int
    sparsity_masked: float
    sparsity_model: float
    kept: dict[str, float] = field(default_factory=dict)
    thinned_nonzeros: int | None = None
    thinned_macs: int | None = None
    sparsity_start: float | None = None
    thinned_outputs: dict[str, int] = field(default_factory=dict)

    @property
    def remaining(self) -> dict[str, float]:
        """The shares of the dense network's counts that remain, thinned where that is known."""
        thinned = self.thinned_nonzeros
        parameters = self.nonzeros if thinned is None else thinned
        macs = self.macs_effective if self.thinned_macs is None else self.thinned_macs
        return {"parameters": parameters / self.parameters, "macs": macs / max(1, self.macs)}


@dataclass(frozen=True, eq=False)
class Pruned:
    """Masks were chosen. fraction: the share of the target in this round."""

    round: int
    rounds: int
    fraction: float
    ratios: Ratios
    masks: Masks
    model: nn.Module


@dataclass(frozen=True, eq=False)
class GoalRound:
    """A round of a flow with a goal is over: one pruning and the training after it.

    evaluation: of the network then, on the plan's probe; least: the worst value that the goal
    allows, None for any; report: the network's counts; budgets: the largest share of the dense
    network that may remain, by name; costs: the shares that no count gives, where there is a budget
    of them; notes: sentences on these.
    """

    round: int
    rounds: int
    evaluation: Evaluation
    least: float | None
    report: Report
    budgets: Mapping[str, float]
    costs: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def remaining(self) -> dict[str, float]:
        """The shares of the dense network that remain, by name."""
        return self.report.remaining | dict(self.costs)

    @property
    def good(self) -> bool:
        """Is the value within the goal?"""
        return self.least is None or not self.evaluation.task.better(
            self.least, self.evaluation.value
        )

    @property
    def reached(self) -> bool:
        """Are there budgets, and are all of them met?"""
        left = self.remaining
        return bool(self.budgets) and all(left[name] <= keep for name, keep in self.budgets.items())


@dataclass(frozen=True, eq=False)
class Finished:
    """The last event of `prune`: what was measured before and after, and the model.

    threads: number of threads that torch's kernels used; goal: the rounds of a flow with a goal;
    where the last one misses it, the result is the last good one.

    >>> from pruning_core import Plan, TrainConfig, open_workspace, prune
    >>> plan = Plan(model="lenet5", sparsity=0.5, fine_tune=TrainConfig(epochs=0))
    >>> *_, done = prune(plan, open_workspace(plan.model, plan.dataset))
    >>> round(done.report.sparsity_masked, 2), done.tuned is None
    (0.5, True)
    """

    model: nn.Module
    masks: Masks
    report: Report
    dense: Evaluation
    pruned: Evaluation
    recalibrated: Evaluation | None
    tuned: Evaluation | None
    threads: int
    goal: tuple[GoalRound, ...] = ()
