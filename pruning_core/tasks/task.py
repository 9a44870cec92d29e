"""What a network is for: its loss, its value on a split, and what to show of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from pruning_core.errors import PruningError
from pruning_core.intervals import bootstrap_interval, wilson_interval
from pruning_core.tasks.model_output import require_logits

Parts = Mapping[str, Shaped[Tensor, "_n ..."]]
"""What was measured on each sample, by name. The first axis counts the samples."""
NOT_FINITE = (
    "The model's output is NaN or infinite on some image: its weights are broken, "
    "or the learning rate was too high."
)


@dataclass(frozen=True, eq=False)
class ClassAnswers:
    """The answers of a classifier.

    per_class: recall per class, in [0, 1]; None where the class has no sample.
    confusion: true x predicted. predictions: the predicted class of every sample, in the split's
    order.
    """

    per_class: tuple[float | None, ...]
    confusion: Int[Tensor, "c c"]
    predictions: Int[Tensor, " n"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was measured on n samples.

    value: of the task, such as top-1 in [0, 1]. interval: its 95% interval.
    loss: the mean loss; of classification the cross-entropy, in nats.
    values: of each sample; of classification 1 where the answer is right, else 0.
    extras: other numbers by label, such as top-5. classes: of classification only.
    statistics: what `Task.value_of` reads, of each sample.
    """

    n: int
    value: float
    loss: float
    interval: tuple[float, float]
    values: Float[Tensor, " n"] = field(repr=False)
    task: "Task" = field(repr=False)
    extras: Mapping[str, float] = field(default_factory=dict)
    classes: ClassAnswers | None = field(default=None, repr=False)
    statistics: Parts = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a batch is, its loss, and the value by which pruned networks are compared.

    name: in TASKS, or package.module:object. label, help: for people.
    value_label: what pages show, such as "accuracy". axis_label, short_label: its longer name at
    an axis and its shorter name in a line of text; equal to value_label where left out.
    higher_is_better: a larger value is better.
    binary: every sample's value is 0 or 1, and the value is their mean: intervals are exact.
    low, high: the range of the value; None where it has no end.
    percent: it is a fraction, which pages show as a percentage.
    samples: what the data set holds, such as "images".
    batch_size: samples that are measured at once.
    dense_answers: the targets are the dense network's own answers (`answers`).
    gives_logits: the outputs are logits of classes, which a temperature may divide.
    statistics: names of the parts, besides "count", of which `value_of` reads the sums.

    A task of your own derives and defines `loss`; where its value is not the mean of one number
    per sample, also `measure`, `statistics` and `value_of`.
    """

    name: str
    label: str
    value_label: str
    help: str = ""
    axis_label: str = ""
    short_label: str = ""
    higher_is_better: bool = True
    binary: bool = False
    low: float | None = None
    high: float | None = None
    percent: bool = False
    samples: str = "samples"
    batch_size: int = 256
    dense_answers: bool = False

    gives_logits: ClassVar[bool] = False
    statistics: ClassVar[tuple[str, ...]] = ("value",)

    def __post_init__(self) -> None:
        for name in ("axis_label", "short_label"):
            if not getattr(self, name):
                object.__setattr__(self, name, self.value_label)

    def outputs(self, out: Any) -> Tensor:
        """The tensor of a model's output that is judged: its logits (`require_logits`)."""
        return require_logits(out)

    @property
    def own_outputs(self) -> Callable[[Any], Tensor] | None:
        """`outputs` where a task defines it itself; None where it is `require_logits`."""
        return None if type(self).outputs is Task.outputs else self.outputs

    def check(self, outputs: Tensor, targets: Tensor) -> None:
        """Raises PruningError for targets that do not fit the outputs."""

    def try_functions(self, outputs: Tensor, targets: Tensor) -> None:
        """Calls a user's own functions once. Raises PruningError where they fail."""

    def loss(
        self,
        outputs: Tensor,
        targets: Tensor,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> Tensor:
        """The loss that training lowers, differentiable.

        reduction: "mean" | "sum" over the samples | "none" (one per sample).
        """
        raise NotImplementedError

    def answers(self, outputs: Tensor) -> Tensor:
        """The outputs as targets of this task. Raises PruningError where the task has none."""
        raise PruningError(
            f"{self.label} has no answers that could be targets: choose another task, or give "
            "targets."
        )

    def sample_values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The value of each sample; without another definition its loss."""
        return self.loss(outputs, targets, "none")

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """What is kept of a batch: "loss", "value" and all `statistics`, each first by sample.

        A part "count" is 0 for samples that are left out, else 1.
        On the CPU. Nothing as large as the outputs is kept. Raises PruningError for outputs that
        are not finite.
        """
        checked(outputs)
        self.check(outputs, targets)
        return {
            "loss": self.loss(outputs, targets, "none").double().cpu(),
            "value": self.sample_values(outputs, targets).double().cpu(),
        }

    def no_label_smoothing(self, label_smoothing: float) -> None:
        """Raises PruningError where labels are to be smoothed and the task has no classes."""
        if label_smoothing:
            raise PruningError(
                f"Label smoothing needs one class per target, which {self.label.lower()} does not "
                "have: set it to 0."
            )

    def value_of(self, sums: Parts) -> Float[Tensor, " b"]:
        """The value of b sets of samples, from the sums of their statistics and their "count"."""
        return sums["value"] / sums["count"]

    def summarise(self, parts: Parts) -> Evaluation:
        """The evaluation of all samples. Raises PruningError where there are none."""
        if "count" in parts:
            parts = {name: part[parts["count"] > 0] for name, part in parts.items()}
        n = len(parts["loss"])
        if not n:
            raise PruningError(f"There are no {self.samples} with a target to evaluate on.")
        statistics = with_count({name: parts[name] for name in self.statistics})
        value = float(self.value_of(totals(statistics)))
        return Evaluation(
            n=n,
            value=value,
            loss=self.mean_loss(parts),
            interval=wilson_interval(round(value * n), n)
            if self.right_or_wrong(parts["value"])
            else bootstrap_interval(self.value_of, statistics),
            values=parts["value"].double(),
            task=self,
            extras=self.extras(parts),
            statistics=statistics,
        )

    def mean_loss(self, parts: Parts) -> float:
        """The loss of all samples."""
        return float(parts["loss"].mean())

    def extras(self, parts: Parts) -> dict[str, float]:
        """Other numbers to show, by label."""
        return {}

    def similarity(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Numbers of each sample, the first the most important: similar samples have similar ones.

        A preview draws its samples along this order. Here it is the loss.
        """
        return {"loss": self.loss(outputs, targets, "none").double().cpu()}

    def better(self, value: float, other: float) -> bool:
        """Is the first value better?"""
        return value > other if self.higher_is_better else value < other

    def right_or_wrong(self, values: Tensor) -> bool:
        """Is the value of each of these samples 0 or 1, and the task's value their mean?"""
        return self.binary

    @property
    def sign(self) -> int:
        """1 where a larger value is better, else -1."""
        return 1 if self.higher_is_better else -1

    def scale(self, value: float) -> float:
        """How much the value can change: the length of its range, else the value's size."""
        if self.low is not None and self.high is not None:
            return self.high - self.low
        return abs(value)

    def text(self, value: float) -> str:
        """The value in a line of a terminal: 0.9123, or 12.34 where it is no fraction."""
        return f"{value:.4f}" if self.percent else f"{value:.4g}"


def rows_of(tensor: Tensor) -> Tensor:
    """One row of numbers per sample."""
    return tensor[:, None] if tensor.ndim == 1 else tensor.flatten(1)


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """The losses of samples by `reduction`: their "mean", their "sum", or all of them ("none")."""
    if reduction == "mean":
        return losses.mean()
    return losses.sum() if reduction == "sum" else losses


def checked(outputs: Tensor) -> Tensor:
    """The outputs. Raises PruningError where one is not finite."""
    if not bool(outputs.isfinite().all()):
        raise PruningError(NOT_FINITE)
    return outputs


def with_count(statistics: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The statistics in double precision, and "count": 1 for each sample where it is not given."""
    n = len(next(iter(statistics.values())))
    own = {name: tensor.double() for name, tensor in statistics.items()}
    return {"count": torch.ones(n, dtype=torch.float64), **own}


def totals(statistics: Parts) -> dict[str, Tensor]:
    """The sum of each statistic over all samples: 1 x ... ."""
    return {name: tensor.sum(0, keepdim=True) for name, tensor in statistics.items()}


def joined(parts: Sequence[Parts]) -> dict[str, Tensor]:
    """The parts of all batches, one after the other."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
