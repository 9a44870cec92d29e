"""Criteria that look at the gradient of the loss on calibration images."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from pruning_core.model.gradients import gradients
from pruning_core.model.inventory import weights
from pruning_core.types import Batches, Layer, Scores


@dataclass(frozen=True)
class Gradient:
    """Weights that the loss does not pull at go first: s = |dL/dw|, L the mean cross-entropy
    (arXiv:2003.03033).
    """

    help: ClassVar[str] = (
        "Weights with a small gradient go first. Reads labelled calibration images; one backward pass."
    )
    formula: ClassVar[str] = "s = |g|, g = dL/dw over the calibration images; group: mean"
    source: ClassVar[str] = (
        "first-order sensitivity without the weight; its limits: LeCun et al. 1990, Optimal Brain Damage"
    )
    needs: ClassVar[str] = "labelled images"
    passes: ClassVar[str] = "1 forward, 1 backward"
    runs_network: ClassVar[bool] = True
    needs_data: ClassVar[bool] = True
    per_filter: ClassVar[bool] = False
    label: str = "Gradient |g|"
    pool: str = "mean_abs"

    def supports(self, layer: Layer) -> str | None:
        return None

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        return {name: g.abs() for name, g in gradients(model, layers, batches).items()}


@dataclass(frozen=True)
class Taylor:
    """Weights whose removal changes the loss least, to first order: s = |w g| (Molchanov et al.
    2019, arXiv:1906.10771).
    """

    help: ClassVar[str] = (
        "Weights whose removal should change the loss least, to first order. Reads labelled images; one backward pass."
    )
    formula: ClassVar[str] = "s = |w g|, g = dL/dw over the calibration images; group: mean"
    source: ClassVar[str] = "Molchanov et al. 2019, arXiv:1906.10771"
    needs: ClassVar[str] = "labelled images"
    passes: ClassVar[str] = "1 forward, 1 backward"
    runs_network: ClassVar[bool] = True
    needs_data: ClassVar[bool] = True
    per_filter: ClassVar[bool] = False
    label: str = "Taylor |w g|"
    pool: str = "mean_abs"

    def supports(self, layer: Layer) -> str | None:
        return None

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        w = weights(model, layers)
        return {name: (w[name] * g).abs() for name, g in gradients(model, layers, batches).items()}


@dataclass(frozen=True)
class TaylorGroup:
    """Groups whose removal as one changes the loss least, to first order: s = (sum of w g over the
    group)^2.

    The square of the group's own first-order term, so that opposite signs cancel (Molchanov et al.
    2019, arXiv:1906.10771, eq. 8). g is the gradient of all calibration images as one batch. The
    scores of single weights keep their sign.
    """

    help: ClassVar[str] = (
        "Groups whose removal as one should change the loss least: pulls in opposite directions cancel. Reads labelled images."
    )
    formula: ClassVar[str] = (
        "group: (sum of w g)^2, g = dL/dw over the calibration images as one batch"
    )
    source: ClassVar[str] = "Molchanov et al. 2019 (Taylor-FO), arXiv:1906.10771"
    needs: ClassVar[str] = "labelled images"
    passes: ClassVar[str] = "1 forward, 1 backward"
    runs_network: ClassVar[bool] = True
    needs_data: ClassVar[bool] = True
    per_filter: ClassVar[bool] = False
    label: str = "Taylor of the group (Σ w g)²"
    pool: str = "squared_sum"

    def supports(self, layer: Layer) -> str | None:
        return None

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        w = weights(model, layers)
        return {name: w[name] * g for name, g in gradients(model, layers, batches).items()}


@dataclass(frozen=True)
class Snip:
    """Connections that the loss feels least go first: s = |w g| / sum of |w g| over all layers (Lee
    et al. 2019).

    arXiv:1810.02340. w g is the slope of the loss as the connection's mask c in w c leaves 1. A
    group has the sum of its connections' shares. Made for untrained networks, one shot, with
    Global; single weights rank as by Taylor |w g|.
    """

    help: ClassVar[str] = (
        "Each weight's share of all the loss's sensitivity to single connections; a group has the sum. Ranks single weights as "
        "Taylor |w g| does, larger groups higher. Reads labelled images."
    )
    formula: ClassVar[str] = "s = |w g| / sum |w g|, the sum over all layers; group: sum"
    source: ClassVar[str] = "Lee et al. 2019 (SNIP), arXiv:1810.02340"
    needs: ClassVar[str] = "labelled images"
    passes: ClassVar[str] = "1 forward, 1 backward"
    runs_network: ClassVar[bool] = True
    needs_data: ClassVar[bool] = True
    per_filter: ClassVar[bool] = False
    label: str = "SNIP"
    pool: str = "abs_sum"

    def supports(self, layer: Layer) -> str | None:
        return None

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        w = weights(model, layers)
        found = {name: (w[name] * g).abs() for name, g in gradients(model, layers, batches).items()}
        total = (
            sum(float(each.double().sum()) for each in found.values())
            or torch.finfo(torch.float32).tiny
        )
        return {name: (each.double() / total).float() for name, each in found.items()}
