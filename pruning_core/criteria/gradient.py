"""Criteria that look at the gradient of the loss on calibration images."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from pruning_core.inventory import weights
from pruning_core.observe import gradients
from pruning_core.types import Batches, Layer, Scores


@dataclass(frozen=True)
class Gradient:
    """Weights that the loss does not pull at go first: s = |dL/dw|, L the mean cross-entropy (arXiv:2003.03033)."""

    help: ClassVar[str] = "Weights with a small gradient go first. Reads labelled calibration images; one backward pass."
    formula: ClassVar[str] = "s = |g|, g = dL/dw over the calibration images; group: mean"
    source: ClassVar[str] = "first-order sensitivity without the weight; its limits: LeCun et al. 1990, Optimal Brain Damage"
    needs_data: ClassVar[bool] = True
    label: str = "Gradient |g|"
    pool: str = "mean_abs"

    def supports(self, layer: Layer) -> str | None:
        return None

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        return {name: g.abs() for name, g in gradients(model, layers, batches).items()}


@dataclass(frozen=True)
class Taylor:
    """Weights whose removal changes the loss least, to first order: s = |w g| (Molchanov et al. 2019, arXiv:1906.10771)."""

    help: ClassVar[str] = (
        "Weights whose removal should change the loss least, to first order. Reads labelled images; one backward pass."
    )
    formula: ClassVar[str] = "s = |w g|, g = dL/dw over the calibration images; group: mean"
    source: ClassVar[str] = "Molchanov et al. 2019, arXiv:1906.10771"
    needs_data: ClassVar[bool] = True
    label: str = "Taylor |w g|"
    pool: str = "mean_abs"

    def supports(self, layer: Layer) -> str | None:
        return None

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        w = weights(model, layers)
        return {name: (w[name] * g).abs() for name, g in gradients(model, layers, batches).items()}
