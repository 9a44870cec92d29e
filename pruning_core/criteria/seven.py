"""SEVEN: |w g| summed over mini-batches, reduced where the gradient of the weight is noisy."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pruning_core.criteria.protocol import CriterionBase
from pruning_core.model.gradients import PerWeight, batch_gradients
from pruning_core.model.inventory import weights
from pruning_core.model.precision import in_float32
from pruning_core.types import Batches, Layer, Scores

EPS = 1e-9


class Moments:
    """Running averages of a gradient's magnitude and square, as in Adam.

    m = b1 m + (1 - b1) |g|, v = b2 v + (1 - b2) g^2. signed: m averages g instead of |g|, so that
    a change of sign counts as noise too; the authors' code averages |g|.
    Kingma and Ba 2014, arXiv:1412.6980.
    """

    def __init__(self, beta1: float = 0.8, beta2: float = 0.9, signed: bool = False) -> None:
        self.beta1 = beta1
        self.beta2 = beta2
        self.signed = signed
        self.steps = 0
        self._m = torch.zeros(())
        self._v = torch.zeros(())

    def add(self, g: Tensor) -> None:
        """Adds the gradient of one more mini-batch."""
        if not self.steps:
            self._m = torch.zeros_like(g)
            self._v = torch.zeros_like(g)
        self.steps += 1
        self._m = self.beta1 * self._m + (1 - self.beta1) * (g if self.signed else g.abs())
        self._v = self.beta2 * self._v + (1 - self.beta2) * g.square()

    def state_dict(self) -> dict[str, Any]:
        """What it needs to continue."""
        return {"steps": self.steps, "m": self._m, "v": self._v}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from there."""
        self.steps = state["steps"]
        self._m = state["m"]
        self._v = state["v"]

    def factor(self) -> Tensor:
        """The noise factor c = |m^| / (sqrt(v^) + 1e-9).

        m^ = m / (1 - b1^t) and v^ = v / (1 - b2^t) after t mini-batches. c is 1 for a steady
        gradient and near 0 for a rare one. It can be slightly above 1, because b2 > b1.
        """
        m = self._m / (1 - self.beta1**self.steps)
        v = self._v / (1 - self.beta2**self.steps)
        return m.abs() / (v.sqrt() + EPS)


class AccumulatedScores:
    """S += |w g c| after every mini-batch, without decay; removed weights stay at 0.

    Xiao et al. 2024, arXiv:2403.12688.
    """

    def __init__(self, beta1: float = 0.8, beta2: float = 0.9, signed: bool = False) -> None:
        self._settings = (beta1, beta2, signed)
        self._moments: dict[str, Moments] = {}
        self.scores: dict[str, Tensor] = {}

    def add(
        self,
        w: Mapping[str, Tensor],
        g: Mapping[str, Tensor],
        masks: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Adds one mini-batch: weights, their gradients and their masks (True = kept), by name.

        All three have the same shape.
        """
        for name, slope in g.items():
            moments = self._moments.setdefault(name, Moments(*self._settings))
            moments.add(slope)
            term = (w[name] * slope * moments.factor()).abs()
            total = self.scores[name] + term if name in self.scores else term
            if masks and name in masks:
                total = total.masked_fill(~masks[name], 0)
            self.scores[name] = total

    def state_dict(self) -> dict[str, Any]:
        """What it needs to continue."""
        moments = {name: own.state_dict() for name, own in self._moments.items()}
        return {"moments": moments, "scores": self.scores}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from there."""
        self.scores = state["scores"]
        self._moments = {name: Moments(*self._settings) for name in state["moments"]}
        for name, moments in self._moments.items():
            moments.load_state_dict(state["moments"][name])


def noise_factors(
    slopes: Iterable[PerWeight], beta1: float = 0.8, beta2: float = 0.9, signed: bool = False
) -> PerWeight:
    """The noise factor of every weight after these mini-batches' gradients, O x I x H x W.

    See `Moments.factor`.
    """
    moments: dict[str, Moments] = {}
    for batch in slopes:
        for name, slope in batch.items():
            moments.setdefault(name, Moments(beta1, beta2, signed)).add(slope)
    return {name: running.factor() for name, running in moments.items()}


@dataclass(frozen=True, kw_only=True)
class Seven(CriterionBase):
    """Weights with a small |w g| over mini-batches, or a noisy gradient, are removed first.

    s = sum over mini-batches of |w g m^ / (sqrt(v^) + 1e-9)|, with no weight removed. This is the
    paper's score without its schedule; the flows seven_pre and seven_dyn have both. One mini-batch
    gives |w g|. Xiao et al. 2024, arXiv:2403.12688.
    """

    beta1: float = 0.8
    beta2: float = 0.9
    signed_moment: bool = False
    batch_size: int = 32

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        model = in_float32(model)
        w = weights(model, layers)
        running = AccumulatedScores(self.beta1, self.beta2, self.signed_moment)
        for slopes in batch_gradients(model, layers, batches, self.batch_size):
            running.add(w, slopes)
        return running.scores
