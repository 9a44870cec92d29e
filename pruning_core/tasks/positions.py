"""One class at every position of a sample: pixels of an image, or tokens of a text."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from pruning_core.errors import PruningError
from pruning_core.tasks.task import Parts, Task, checked, reduced

MAX_NATS = 690.0
"""The mean loss that a perplexity is computed from is cut off here: exp of more is infinite."""


@dataclass(frozen=True, kw_only=True)
class Positions(Task):
    """One class at every position. A position with the target `ignore_index` is left out.

    Loss: cross-entropy, in nats: "mean" over the positions of the batch, as training usually has
    it; "none" and "sum" of each sample's mean.
    """

    ignore_index: int = -100

    gives_logits: ClassVar[bool] = True

    def aligned(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Logits: samples x classes x positions; their targets: samples x positions."""
        return outputs.flatten(2), targets.flatten(1)

    def check(self, outputs: Tensor, targets: Tensor) -> None:
        """Raises PruningError for targets of other positions, or of no class."""
        _, classes = self._sizes(outputs, targets)
        known = targets[targets != self.ignore_index]
        if known.is_floating_point() and not bool((known == known.round()).all()):
            raise PruningError(
                f"{self.label} needs class numbers as targets, and the data has fractions: a mask "
                "that is read by ToTensor is divided by 255."
            )
        if len(known) and not 0 <= int(known.min()) <= int(known.max()) < classes:
            wrong = int(known.min()) if int(known.min()) < 0 else int(known.max())
            raise PruningError(
                f"The model answers {classes} classes, but the data has label {wrong}; "
                f"{self.ignore_index} marks positions without a label."
            )

    def _sizes(self, outputs: Tensor, targets: Tensor) -> tuple[int, int]:
        """Samples and classes. Raises PruningError for shapes that do not fit."""
        if outputs.ndim < 3 or outputs.shape[2:] != targets.shape[1:]:
            raise PruningError(
                f"{self.label} needs outputs samples x classes x positions and targets samples x "
                f"positions; the shapes are {tuple(outputs.shape)} and {tuple(targets.shape)}."
            )
        return outputs.shape[0], outputs.shape[1]

    def loss(
        self,
        outputs: Tensor,
        targets: Tensor,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> Tensor:
        """Cross-entropy, in nats."""
        logits, labels = self.aligned(outputs, targets)
        labels = labels.long()
        losses = functional.cross_entropy(
            logits,
            labels,
            ignore_index=self.ignore_index,
            reduction="mean" if reduction == "mean" else "none",
            label_smoothing=label_smoothing,
        )
        if reduction == "mean":
            return losses
        means = losses.sum(1) / (labels != self.ignore_index).sum(1).clamp_min(1)
        return reduced(means, reduction)

    def counted(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Loss, counted positions and right ones of each sample; on the outputs' device."""
        logits, labels = self.aligned(outputs, targets)
        labels = labels.long()
        known = labels != self.ignore_index
        # One sample at a time: the logarithms of a whole batch would need its memory again.
        nats = [self._nats(logits[at], labels[at]) for at in range(len(logits))]
        positions = known.double().sum(1)
        total = torch.stack(nats) if nats else positions
        return {
            "loss": total / positions.clamp_min(1),
            "count": (positions > 0).double(),
            "nats": total,
            "positions": positions,
            "right": ((logits.argmax(1) == labels) & known).double().sum(1),
        }

    def _nats(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The sum of one sample's losses. logits: classes x positions."""
        losses = functional.cross_entropy(
            logits.float()[None], labels[None], ignore_index=self.ignore_index, reduction="none"
        )
        return losses.double().sum()

    def mean_loss(self, parts: Parts) -> float:
        """The mean over all positions."""
        return float(parts["nats"].sum() / parts["positions"].sum())


@dataclass(frozen=True, kw_only=True)
class Segmentation(Positions):
    """One class per pixel.

    Outputs: samples x classes x height x width. Targets: samples x height x width, or samples x 1 x
    height x width, whose axis of length 1 is removed. Value: the mean over the classes of
    intersection / union, over all samples; a class that is neither in the targets nor in the
    answers does not count.
    """

    name: str = "segmentation"
    label: str = "Segmentation"
    value_label: str = "mean IoU"
    help: str = "One class per pixel: intersection / union, mean over the classes."
    low: float | None = 0.0
    high: float | None = 1.0
    percent: bool = True
    samples: str = "images"
    batch_size: int = 32
    ignore_index: int = 255

    statistics: ClassVar[tuple[str, ...]] = ("intersection", "union")

    def _sizes(self, outputs: Tensor, targets: Tensor) -> tuple[int, int]:
        one = targets.ndim == outputs.ndim == 4 and targets.shape[1] == 1
        return super()._sizes(outputs, targets[:, 0] if one else targets)

    def answers(self, outputs: Tensor) -> Tensor:
        """The class with the largest logit at each pixel."""
        return outputs.argmax(1)

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Loss, and intersection and union of each class, of each sample."""
        checked(outputs)
        self.check(outputs, targets)
        logits, labels = self.aligned(outputs, targets)
        known = labels != self.ignore_index
        classes = logits.shape[1]
        predicted = functional.one_hot(logits.argmax(1), classes).bool() & known[..., None]
        true = functional.one_hot(torch.where(known, labels, 0).long(), classes).bool()
        true = true & known[..., None]
        parts = {
            **self.counted(outputs, targets),
            "intersection": (predicted & true).sum(1).double(),
            "union": (predicted | true).sum(1).double(),
        }
        parts["value"] = _mean_iou(parts)
        return {name: part.cpu() for name, part in parts.items()}

    def value_of(self, sums: Parts) -> Tensor:
        """The mean over the classes of intersection / union."""
        return _mean_iou(sums)

    def extras(self, parts: Parts) -> dict[str, float]:
        """The fraction of right pixels."""
        return {"pixel accuracy": float(parts["right"].sum() / parts["positions"].sum())}


def _mean_iou(sums: Parts) -> Tensor:
    there = sums["union"] > 0
    ratios = torch.where(there, sums["intersection"] / sums["union"].clamp_min(1), 0.0)
    return ratios.sum(-1) / there.sum(-1).clamp_min(1)


@dataclass(frozen=True, kw_only=True)
class LanguageModel(Positions):
    """The next token of a text.

    Outputs: samples x tokens x vocabulary. Targets: samples x tokens. shift: the targets are the
    tokens themselves, and an output is judged by the token after it; without it, each output has
    its own target. Value: perplexity, exp of the mean loss over all tokens.
    """

    name: str = "language_model"
    label: str = "Language modelling"
    value_label: str = "perplexity"
    help: str = "The next token: exp of the mean cross-entropy of a token. Lower is better."
    higher_is_better: bool = False
    low: float | None = 1.0
    samples: str = "sequences"
    batch_size: int = 16
    shift: bool = True

    statistics: ClassVar[tuple[str, ...]] = ("nats", "positions")

    def aligned(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Logits: samples x vocabulary x tokens; the token that each should give."""
        if self.shift:
            return outputs[:, :-1].transpose(1, 2), targets[:, 1:]
        return outputs.transpose(1, 2), targets

    def _sizes(self, outputs: Tensor, targets: Tensor) -> tuple[int, int]:
        if outputs.ndim != 3 or targets.shape != outputs.shape[:2]:
            raise PruningError(
                f"{self.label} needs outputs samples x tokens x vocabulary and targets samples x "
                f"tokens; the shapes are {tuple(outputs.shape)} and {tuple(targets.shape)}."
            )
        return outputs.shape[0], outputs.shape[2]

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Loss, tokens and right tokens of each sample."""
        checked(outputs)
        self.check(outputs, targets)
        parts = self.counted(outputs, targets)
        parts["value"] = parts["loss"].clamp_max(MAX_NATS).exp()
        return {name: part.cpu() for name, part in parts.items()}

    def value_of(self, sums: Parts) -> Tensor:
        """exp of the mean loss of a token."""
        return (sums["nats"] / sums["positions"]).clamp_max(MAX_NATS).exp()

    def extras(self, parts: Parts) -> dict[str, float]:
        """The fraction of tokens that are the likeliest one."""
        return {"next-token accuracy": float(parts["right"].sum() / parts["positions"].sum())}


@dataclass(frozen=True, kw_only=True)
class TokenAgreement(LanguageModel):
    """The same likeliest token as the dense network, at every position of a text."""

    name: str = "token_agreement"
    label: str = "Agreement of tokens with the dense network"
    value_label: str = "agreement with the dense network"
    short_label: str = "agreement"
    help: str = "The fraction of positions with the dense network's likeliest token; no targets."
    higher_is_better: bool = True
    low: float | None = 0.0
    high: float | None = 1.0
    percent: bool = True
    shift: bool = False
    dense_answers: bool = True

    statistics: ClassVar[tuple[str, ...]] = ("right", "positions")

    def answers(self, outputs: Tensor) -> Tensor:
        """The likeliest token at each position. Raises PruningError for outputs without tokens."""
        if outputs.ndim != 3:
            raise PruningError(
                f"{self.label} needs outputs samples x tokens x vocabulary; the shape is "
                f"{tuple(outputs.shape)}."
            )
        return outputs.argmax(2)

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Loss and right tokens of each sample."""
        parts = super().measure(outputs, targets)
        return {**parts, "value": parts["right"] / parts["positions"].clamp_min(1)}

    def value_of(self, sums: Parts) -> Tensor:
        """Right tokens / tokens."""
        return sums["right"] / sums["positions"]

    def extras(self, parts: Parts) -> dict[str, float]:
        """None besides the value."""
        return {}
