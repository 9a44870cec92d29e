"""Regression: numbers that should be near other numbers."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pruning_core.errors import PruningError
from pruning_core.tasks.task import Parts, Task, checked, reduced, rows_of

MOST_COLUMNS = 16
"""R2 is the mean over at most this many numbers per sample; more are taken together."""


@dataclass(frozen=True, kw_only=True)
class Regression(Task):
    """One or several numbers per sample.

    Outputs and targets: samples x numbers, of one shape. Loss: mean squared error. Value: its
    square root over all numbers of all samples (RMSE).
    """

    name: str = "regression"
    label: str = "Regression"
    value_label: str = "RMSE"
    help: str = "Numbers: the root of the mean squared error. Lower is better."
    higher_is_better: bool = False
    low: float | None = 0.0

    statistics: ClassVar[tuple[str, ...]] = ("squares", "numbers")

    def check(self, outputs: Tensor, targets: Tensor) -> None:
        """Raises PruningError for targets of another shape or that are not finite."""
        if rows_of(outputs).shape != rows_of(targets).shape:
            raise PruningError(
                f"Regression needs one target per output; the shapes are {tuple(outputs.shape)} "
                f"and {tuple(targets.shape)}."
            )
        if not bool(targets.isfinite().all()):
            raise PruningError("A target is NaN or infinite: leave such samples out of the data.")

    def loss(
        self,
        outputs: Tensor,
        targets: Tensor,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> Tensor:
        """Mean squared error of a sample's numbers."""
        self.no_label_smoothing(label_smoothing)
        rows = rows_of(outputs)
        errors = (rows - rows_of(targets).to(rows.dtype)).square().mean(1)
        return reduced(errors, reduction)

    def answers(self, outputs: Tensor) -> Tensor:
        """The outputs themselves."""
        return outputs

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Squared error of each sample, and of each number where there are few."""
        rows = rows_of(checked(outputs).double().cpu())
        wanted = rows_of(targets.double().cpu())
        self.check(rows, wanted)
        squares = (rows - wanted).square()
        return {
            "loss": squares.mean(1),
            "value": squares.mean(1).sqrt(),
            "squares": squares.sum(1),
            "numbers": torch.full_like(squares[:, 0], squares.shape[1]),
            "absolute": (rows - wanted).abs().sum(1),
            "errors": _columns(squares),
            "targets": _columns(wanted),
            "target squares": _columns(wanted.square()),
        }

    def value_of(self, sums: Parts) -> Tensor:
        """The root of the mean squared error."""
        return (sums["squares"] / sums["numbers"]).clamp_min(0).sqrt()

    def extras(self, parts: Parts) -> dict[str, float]:
        """R2 = 1 - sum of squared errors / sum of squared distances from the targets' mean.

        The mean over a sample's numbers; those whose targets are all equal are left out. MAE: mean
        absolute error.
        """
        numbers = float(parts["numbers"].sum())
        per_column = numbers / parts["errors"].shape[1]
        spread = parts["target squares"].sum(0) - parts["targets"].sum(0).square() / per_column
        varying = spread > 1e-12 * parts["target squares"].sum(0)
        extras = {"MAE": float(parts["absolute"].sum()) / numbers}
        if bool(varying.any()):
            ratios = parts["errors"].sum(0)[varying] / spread[varying]
            extras = {"R²": float((1 - ratios).mean()), **extras}
        return extras


def _columns(rows: Tensor) -> Tensor:
    """The numbers of each sample, or their sum where they are many."""
    return rows if rows.shape[1] <= MOST_COLUMNS else rows.sum(1, keepdim=True)
