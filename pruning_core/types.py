"""The nouns of the project: layers, scores, ratios, masks, data, events. No logic lives here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

Scores = dict[str, Float[Tensor, "_o _i _h _w"]]
"""Saliency per weight by parameter name, in the OIHW view; higher = keep."""
GroupScores = dict[str, Float[Tensor, "_s _g"]]
"""Saliency per group by parameter name: scope x group; higher = keep."""
Masks = dict[str, Bool[Tensor, "_o _i _h _w"]]
"""Mask per parameter name, in the OIHW view; True = keep."""
Ratios = dict[str, float]
"""Fraction of the groups removed, by parameter name; in [0, 1]."""
Inputs = Tensor | tuple[Tensor, ...] | Mapping[str, Tensor]
"""A batch for a model: one tensor, several in order, or several by name (input_ids,
attention_mask); the samples come first.
"""
Example = tuple[int, ...] | Inputs
"""What one input looks like: its shape, as C x H x W, or a batch of which the first sample is
taken.
"""
Batches = Sequence[tuple[Inputs, Tensor]]
"""Model-ready inputs and integer labels."""


class PruningError(ValueError):
    """Bad input. The message is one sentence: what was wrong, where, what to do.

    >>> from pruning_core import Plan, PruningError
    >>> try:
    ...     Plan(sparsity=2.0)
    ... except PruningError as error:
    ...     print(error)
    A sparsity of 2.0 is outside [0, 1]: 0 removes nothing, 1 everything.
    """


class DataMissing(PruningError):
    """Files that are not on this machine and could not be fetched."""


class Cancelled(Exception):
    """Raised inside long work when the user asked it to stop."""


@dataclass(frozen=True)
class Layer:
    """A prunable parameter.

    name: its key in `state_dict`; module: the owning module's path; kind: conv1d | conv2d | depthwise | linear | attention_in
    | attention_proj | attention_out; shape: OIHW view; param_shape: as stored; macs: multiply-adds per image that read this
    weight; bn: path of the batch norm that follows, if there is one with a scale; heads: attention heads, 0 if none;
    attention: path of the module that they belong to; aliases: other names of a tied weight; is_output: its output is the
    model's output, so that its rows are the classes; is_first: the model's first convolution.
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

    @property
    def numel(self) -> int:
        """Number of weights."""
        o, i, h, w = self.shape
        return o * i * h * w

    @property
    def fused(self) -> bool:
        """Is it part of an nn.MultiheadAttention, which reads it without calling a module of its
        own?
        """
        return self.heads > 0 and self.name.rpartition(".")[::2] != (self.module, "weight")

    @property
    def linear(self) -> bool:
        """Is it the weight of a Linear, whose inputs and outputs are features along the last axis?"""
        return len(self.param_shape) == 2 and not self.fused


@dataclass(frozen=True)
class Unprunable:
    """A parameter that is shown but not pruned, and why."""

    name: str
    shape: tuple[int, ...]
    reason: str


@runtime_checkable
class Split(Protocol):
    """Labelled images, or other inputs, in a fixed order."""

    @property
    def labels(self) -> Int[Tensor, " n"]: ...

    def __len__(self) -> int: ...

    def batches(self, size: int) -> Iterator[tuple[Inputs, Tensor]]:
        """Model-ready (normalised) batches, in order, on the CPU."""
        ...

    def shuffled(
        self, size: int, seed: int, augment: bool = False
    ) -> Iterator[tuple[Inputs, Tensor]]:
        """One epoch of training batches in an order fixed by `seed`."""
        ...

    def subset(self, indices: Sequence[int]) -> "Split": ...

    def images(self, indices: Sequence[int]) -> Float[Tensor, "k c h w"]:
        """The pictures themselves, in [0, 1], for display."""
        ...


@dataclass(frozen=True)
class Dataset:
    """Train, validation and test splits; `outputs`: which logits stand for the classes (None = all,
    in order).

    shape: C x H x W, for the zoo and the pages alone; 1 x 1 x length for tokens.
    """

    name: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    train: Split
    val: Split
    test: Split
    outputs: tuple[int, ...] | None = None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Measured on n images. top1, top5, interval, per_class: fractions in [0, 1]; loss: mean
    cross-entropy, nats.

    interval: Wilson 95% for top1; per_class: recall per class (None where the class has no image);
    confusion: true x predicted; predictions: the predicted class of every image, in the split's
    order.
    """

    n: int
    top1: float
    top5: float | None
    loss: float
    interval: tuple[float, float]
    per_class: tuple[float | None, ...]
    confusion: Int[Tensor, "c c"]
    predictions: Int[Tensor, " n"]


@dataclass(frozen=True)
class Step:
    """One optimizer step is done. epoch and step count from 1; loss: of this batch."""

    epoch: int
    step: int
    steps: int
    loss: float


@dataclass(frozen=True, eq=False)
class Epoch:
    """One epoch of training is done; evaluation: on the validation split; best: the best epoch so
    far.
    """

    epoch: int
    epochs: int
    train_loss: float
    evaluation: Evaluation
    best: bool


@dataclass(frozen=True, eq=False)
class Tuned:
    """The last event of fine-tuning: a new model with the best epoch's weights, masks held."""

    model: nn.Module
    best_epoch: int
    evaluation: Evaluation


@dataclass(frozen=True)
class SensitivityPoint:
    """One layer pruned alone, or with the layers that its channels are tied to.

    sparsity: requested; achieved: what whole groups of this layer allowed; interval: Wilson 95%, n
    images; change: top-1 minus the dense network's, with its paired 95% interval (no width where
    nothing was removed: it is the same network); group: the layers cut together, () for one alone;
    why: the reason where the layer cannot be cut at all; in_full: why torch.fx could not trace the
    network, so that every point took a full forward pass, with the same numbers; None where it
    could.
    """

    parameter: str
    granularity: str
    sparsity: float
    achieved: float
    loss: float
    top1: float
    n: int
    interval: tuple[float, float]
    change: float = 0.0
    change_interval: tuple[float, float] = (0.0, 0.0)
    group: tuple[str, ...] = ()
    why: str | None = None
    in_full: str | None = None

    @property
    def no_op(self) -> bool:
        """Was something asked for and nothing removed? Such a point says nothing about robustness."""
        return self.sparsity > 0 and self.achieved == 0


@dataclass(frozen=True)
class Report:
    """Computed counts of a masked model. MACs: multiply-adds per image; bytes: dense storage of all
    parameters and buffers.

    macs_effective = sum over layers of MACs x kept fraction; sparsity_masked: over the masked
    tensors; sparsity_model: over all parameters; thinned_parameters, thinned_macs: nonzeros and
    macs_effective less the weights that only read channels that are gone, which a network made
    narrower would not have either; None where that is not known, or less than outputs is cut.
    """

    parameters: int
    nonzeros: int
    macs: int
    macs_effective: int
    dense_bytes: int
    sparsity_masked: float
    sparsity_model: float
    kept: dict[str, float] = field(default_factory=dict)
    thinned_parameters: int | None = None
    thinned_macs: int | None = None


@dataclass(frozen=True, eq=False)
class Pruned:
    """Masks were chosen. fraction: share of the target asked for in this round."""

    round: int
    rounds: int
    fraction: float
    ratios: Ratios
    masks: Masks
    model: nn.Module


@dataclass(frozen=True, eq=False)
class Finished:
    """The last event of `prune`: what was measured before and after, and the model.

    threads: number of threads that torch's kernels used.

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
