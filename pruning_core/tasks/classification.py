"""Classification: one right class for each sample, or for each of several labels."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from pruning_core.errors import PruningError
from pruning_core.intervals import wilson_interval
from pruning_core.tasks.task import ClassAnswers, Evaluation, Parts, Task, checked, with_count


@dataclass(frozen=True, kw_only=True)
class Classification(Task):
    """One class per sample, from one logit per class.

    Outputs: samples x classes. Targets: integer class numbers. Loss: cross-entropy, in nats. Value:
    the fraction of samples whose largest logit is that of the right class. A sample with the target
    `ignore_index` is left out.
    """

    name: str = "classification"
    label: str = "Classification"
    value_label: str = "accuracy"
    help: str = "One class per sample: the fraction of right answers."
    axis_label: str = "top-1 accuracy"
    short_label: str = "top-1"
    binary: bool = True
    low: float | None = 0.0
    high: float | None = 1.0
    percent: bool = True
    samples: str = "images"
    ignore_index: int = -100

    gives_logits: ClassVar[bool] = True

    def check(self, outputs: Tensor, targets: Tensor) -> None:
        """Raises PruningError for targets that are no class of the outputs."""
        if outputs.ndim != 2 or targets.ndim != 1:
            raise PruningError(
                "Classification needs outputs samples x classes and one class number per sample; "
                f"the shapes are {tuple(outputs.shape)} and {tuple(targets.shape)}: "
                "name another task."
            )
        if len(outputs) != len(targets):
            raise PruningError(
                f"The network gives {len(outputs)} rows of logits for {len(targets)} samples: it "
                "must give one row for each."
            )
        counted = targets[targets != self.ignore_index]
        if len(counted) and int(counted.max()) >= outputs.shape[1]:
            hint = " For one logit per sample, choose the task 'binary'."
            raise PruningError(
                f"The model answers {outputs.shape[1]} classes, "
                f"but the data has label {int(counted.max())}."
                + (hint if outputs.shape[1] == 1 else "")
            )
        if len(counted) and int(counted.min()) < 0:
            raise PruningError(
                f"The data has label {int(counted.min())}: classes are numbered from 0, and only "
                f"{self.ignore_index} means that a sample has no label."
            )

    def loss(
        self,
        outputs: Tensor,
        targets: Tensor,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> Tensor:
        """Cross-entropy, in nats."""
        return functional.cross_entropy(
            outputs,
            targets.long(),
            ignore_index=self.ignore_index,
            reduction=reduction,
            label_smoothing=label_smoothing,
        )

    def answers(self, outputs: Tensor) -> Tensor:
        """The class with the largest logit."""
        return outputs.argmax(1)

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Loss and answer of each sample."""
        logits = checked(outputs.float().cpu())
        labels = targets.cpu().long()
        self.check(logits, labels)
        classes = logits.shape[1]
        predictions = logits.argmax(1)
        parts = {
            "loss": self.loss(logits.double(), labels, "none"),
            "value": (predictions == labels).double(),
            "count": (labels != self.ignore_index).double(),
            "label": labels,
            "prediction": predictions,
            "classes": torch.full_like(labels, classes),
        }
        if classes > 5:
            parts["top-5"] = (logits.topk(5).indices == labels[:, None]).any(1).double()
        return parts

    def summarise(self, parts: Parts) -> Evaluation:
        """Accuracy with Wilson's interval, top-5 of more than five classes, and the answers.

        Raises PruningError where no sample has a label.
        """
        counted = parts["count"] > 0
        n = int(counted.sum())
        if not n:
            raise PruningError(f"There are no {self.samples} with a label to evaluate on.")
        known = {name: part[counted] for name, part in parts.items()}
        right = int(known["value"].sum())
        return Evaluation(
            n=n,
            value=right / n,
            loss=_mean(known["loss"]),
            interval=wilson_interval(right, n),
            values=known["value"],
            task=self,
            extras={"top-5": float(known["top-5"].mean())} if "top-5" in known else {},
            classes=_answers(known, parts["prediction"]),
            statistics=with_count({"value": known["value"]}),
        )

    def similarity(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """The class, then the margin: the logit of the true class minus the largest other one.

        The margin rises in one class and falls in the next.
        """
        logits = outputs.float().cpu()
        labels = targets.cpu().long()
        own = functional.one_hot(labels.clamp_min(0), logits.shape[1]).bool()
        margin = logits[own] - logits.masked_fill(own, -torch.inf).amax(1)
        return {"class": labels, "margin": torch.where(labels % 2 == 1, -margin, margin)}


def _mean(losses: Float[Tensor, " n"]) -> float:
    """The mean, added up as `cross_entropy` adds the losses of a batch: equal in every bit."""
    zeros = torch.zeros(len(losses), dtype=torch.long)
    return float(functional.nll_loss(-losses[:, None], zeros))


def _answers(known: Parts, predictions: Int[Tensor, " n"]) -> ClassAnswers:
    """known: the parts of the samples with a label. predictions: of all samples."""
    confusion = confusion_matrix(known["label"], known["prediction"], int(known["classes"][0]))
    return ClassAnswers(_recall(confusion), confusion, predictions)


def confusion_matrix(
    labels: Int[Tensor, "..."], predictions: Int[Tensor, "..."], classes: int
) -> Int[Tensor, "c c"]:
    """The number of samples by true class (row) and predicted class (column)."""
    cells = torch.bincount((labels * classes + predictions).flatten(), minlength=classes * classes)
    return cells.view(classes, classes)


def _recall(confusion: Int[Tensor, "c c"]) -> tuple[float | None, ...]:
    """Fraction of each true class that is predicted right; None for a class without samples."""
    right = confusion.diagonal().tolist()
    sizes = confusion.sum(1).tolist()
    return tuple(r / size if size else None for r, size in zip(right, sizes, strict=True))


CLASSIFICATION = Classification()
