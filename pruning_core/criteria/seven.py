"""SEVEN: sensitivity summed over mini-batches, each share discounted by how noisy the weight's
gradient is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pruning_core.model.gradients import PerWeight, batch_gradients
from pruning_core.model.inventory import weights
from pruning_core.types import Batches, Layer, Scores

EPS = 1e-9


class Moments:
    """Running averages of a gradient's size and square, Adam's: m = b1 m + (1 - b1) |g|, v = b2 v +
    (1 - b2) g^2.

    signed: m averages g itself, so that changing signs count as noise too; the authors' code
    averages |g|.
    """

    def __init__(self, beta1: float = 0.8, beta2: float = 0.9, signed: bool = False) -> None:
        self.beta1 = beta1
        self.beta2 = beta2
        self.signed = signed
        self.steps = 0
        self._m = self._v = torch.zeros(())

    def add(self, g: Tensor) -> None:
        """Takes in the gradient of one more mini-batch."""
        if not self.steps:
            self._m = torch.zeros_like(g)
            self._v = torch.zeros_like(g)
        self.steps += 1
        self._m = self.beta1 * self._m + (1 - self.beta1) * (g if self.signed else g.abs())
        self._v = self.beta2 * self._v + (1 - self.beta2) * g.square()

    def factor(self) -> Tensor:
        """c = |m^| / (sqrt(v^) + 1e-9), m^ = m / (1 - b1^t), v^ = v / (1 - b2^t): 1 for a steady
        gradient, near 0 for a rare one.

        Slightly above 1 at most (b2 > b1). Adam: Kingma and Ba 2014, arXiv:1412.6980.
        """
        m = self._m / (1 - self.beta1**self.steps)
        v = self._v / (1 - self.beta2**self.steps)
        return m.abs() / (v.sqrt() + EPS)


class AccumulatedScores:
    """S += |w g c| after every mini-batch, never decayed; removed weights stay at 0 (Xiao et al.
    2024, arXiv:2403.12688).
    """

    def __init__(self, beta1: float = 0.8, beta2: float = 0.9, signed: bool = False) -> None:
        self._settings = beta1, beta2, signed
        self._moments: dict[str, Moments] = {}
        self.scores: dict[str, Tensor] = {}

    def add(
        self,
        w: Mapping[str, Tensor],
        g: Mapping[str, Tensor],
        masks: Mapping[str, Tensor] | None = None,
    ) -> None:
        """One more mini-batch: weights, their gradients, and what is kept (True) so far, by name
        and all of one shape.
        """
        for name, slope in g.items():
            found = self._moments.setdefault(name, Moments(*self._settings))
            found.add(slope)
            share = (w[name] * slope * found.factor()).abs()
            total = self.scores[name] + share if name in self.scores else share
            self.scores[name] = (
                total.masked_fill(~masks[name], 0) if masks and name in masks else total
            )


def noise_factors(
    slopes: Iterable[PerWeight], beta1: float = 0.8, beta2: float = 0.9, signed: bool = False
) -> PerWeight:
    """c = |m^| / (sqrt(v^) + 1e-9) of every weight after these mini-batches' gradients, O x I x H x
    W; see `Moments.factor`.
    """
    moments: dict[str, Moments] = {}
    for batch in slopes:
        for name, slope in batch.items():
            moments.setdefault(name, Moments(beta1, beta2, signed)).add(slope)
    return {name: found.factor() for name, found in moments.items()}


@dataclass(frozen=True)
class Seven:
    """s = sum over mini-batches of |w g m^ / (sqrt(v^) + 1e-9)|, all weights in place (Xiao et al.
    2024, arXiv:2403.12688).

    The score of the paper without its schedule; `flows` has both (seven_pre, seven_dyn). One
    mini-batch gives |w g|.
    """

    help: ClassVar[str] = (
        "Taylor |w g|, summed over mini-batches of 32 and discounted where a weight's gradient is noisy. Reads labelled images."
    )
    formula: ClassVar[str] = (
        "s = sum over mini-batches of |w g m^ / (sqrt(v^) + 1e-9)|, m and v Adam's of |g|; group: mean"
    )
    source: ClassVar[str] = "Xiao et al. 2024 (SEVEN), arXiv:2403.12688"
    needs: ClassVar[str] = "labelled images"
    passes: ClassVar[str] = "1 forward, 1 backward, in mini-batches of 32"
    runs_network: ClassVar[bool] = True
    needs_data: ClassVar[bool] = True
    per_filter: ClassVar[bool] = False
    label: str = "SEVEN"
    pool: str = "mean_abs"
    beta1: float = 0.8
    beta2: float = 0.9
    signed_moment: bool = False
    batch_size: int = 32

    def supports(self, layer: Layer) -> str | None:
        return None

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        w = weights(model, layers)
        found = AccumulatedScores(self.beta1, self.beta2, self.signed_moment)
        for slopes in batch_gradients(model, layers, batches, self.batch_size):
            found.add(w, slopes)
        return found.scores
