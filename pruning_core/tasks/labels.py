"""Yes or no: one label per sample, or several independent ones."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from pruning_core.errors import PruningError
from pruning_core.tasks.task import Parts, Task, checked, rows_of


@dataclass(frozen=True, kw_only=True)
class Labels(Task):
    """Independent labels, each 0 or 1, from one logit each.

    Outputs: samples x labels. Targets: the same shape, 0 or 1. Loss: binary cross-entropy, in nats,
    mean over the labels. Value: the fraction of labels that are right (a positive logit means 1).
    A label with the target `ignore_index` is left out.
    """

    name: str = "multi_label"
    label: str = "Multi-label classification"
    value_label: str = "label accuracy"
    help: str = "Several labels per sample, each yes or no: the fraction of right labels."
    low: float | None = 0.0
    high: float | None = 1.0
    percent: bool = True
    samples: str = "images"
    ignore_index: int = -100

    gives_logits: ClassVar[bool] = True
    statistics: ClassVar[tuple[str, ...]] = ("right", "labels")

    def check(self, outputs: Tensor, targets: Tensor) -> None:
        """Raises PruningError for targets of another shape, or other than 0 and 1."""
        if rows_of(outputs).shape != rows_of(targets).shape:
            raise PruningError(
                f"{self.label} needs one target per output; the shapes are "
                f"{tuple(outputs.shape)} and {tuple(targets.shape)}."
            )
        known = targets[targets != self.ignore_index]
        other = known[(known != 0) & (known != 1)]
        if len(other):
            raise PruningError(
                f"{self.label} needs targets 0 and 1, but the data has {other[0].item():g}."
            )

    def loss(
        self,
        outputs: Tensor,
        targets: Tensor,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> Tensor:
        """Binary cross-entropy, in nats; smoothed labels are s / 2 and 1 - s / 2."""
        logits = rows_of(outputs)
        rows = rows_of(targets)
        counted = (rows != self.ignore_index).to(logits.dtype)
        smooth = rows.to(logits.dtype) * (1 - label_smoothing) + label_smoothing / 2
        losses = functional.binary_cross_entropy_with_logits(logits, smooth, reduction="none")
        weights = counted if reduction == "mean" else counted / counted.sum(1, True).clamp_min(1)
        weighted = torch.where(counted > 0, losses, 0.0) * weights
        if reduction == "mean":
            return weighted.sum() / weights.sum().clamp_min(1)
        return weighted.sum() if reduction == "sum" else weighted.sum(1)

    def answers(self, outputs: Tensor) -> Tensor:
        """1 where the logit is positive."""
        return (outputs > 0).long()

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Loss, right labels, and the cells of the F1 score, of each sample."""
        logits = checked(rows_of(outputs.float().cpu()))
        rows = rows_of(targets.cpu())
        self.check(logits, rows)
        counted = rows != self.ignore_index
        predicted = (logits > 0) & counted
        true = (rows == 1) & counted
        labels = counted.double().sum(1)
        right = ((predicted == true) & counted).double().sum(1)
        return {
            "loss": self.loss(logits.double(), rows, "none"),
            "value": right / labels.clamp_min(1),
            "count": (labels > 0).double(),
            "right": right,
            "labels": labels,
            "both": (predicted & true).double().sum(1),
            "predicted": predicted.double().sum(1),
            "true": true.double().sum(1),
        }

    def value_of(self, sums: Parts) -> Tensor:
        """Right labels / labels."""
        return sums["right"] / sums["labels"]

    def mean_loss(self, parts: Parts) -> float:
        """The mean over all labels."""
        return float((parts["loss"] * parts["labels"]).sum() / parts["labels"].sum())

    def extras(self, parts: Parts) -> dict[str, float]:
        """The fraction of samples with all labels right, and the F1 score over all labels."""
        positives = float(parts["predicted"].sum() + parts["true"].sum())
        return {
            "all labels right": float((parts["right"] == parts["labels"]).double().mean()),
            "F1": 2 * float(parts["both"].sum()) / positives if positives else 1.0,
        }


@dataclass(frozen=True, kw_only=True)
class Binary(Labels):
    """One label, 0 or 1, from a single logit.

    Outputs: samples, or samples x 1. Targets: 0 or 1. A positive logit means 1. A sample with the
    target `ignore_index` is left out.
    """

    name: str = "binary"
    label: str = "Binary classification"
    value_label: str = "accuracy"
    help: str = "One label per sample, yes or no, from a single logit: the fraction right."
    binary: bool = True

    statistics: ClassVar[tuple[str, ...]] = ("value",)

    def check(self, outputs: Tensor, targets: Tensor) -> None:
        """Raises PruningError for several outputs, and as `Labels`."""
        if rows_of(outputs).shape[1] != 1:
            raise PruningError(
                f"Binary classification needs one logit per sample, not {outputs.shape[1]}: "
                "choose 'classification' for one class of several, 'multi_label' for several "
                "labels."
            )
        super().check(outputs, targets)

    def value_of(self, sums: Parts) -> Tensor:
        """The fraction of right samples."""
        return sums["value"] / sums["count"]

    def extras(self, parts: Parts) -> dict[str, float]:
        """The F1 score of the label 1."""
        return {"F1": super().extras(parts)["F1"]}
