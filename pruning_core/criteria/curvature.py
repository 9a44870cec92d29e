"""Criteria that look at second derivatives of the loss on calibration images."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from pruning_core.model.gradients import hessian_gradients, squared_gradients
from pruning_core.model.inventory import weights
from pruning_core.types import Batches, Layer, Scores


@dataclass(frozen=True)
class Grasp:
    """Weights whose removal would not weaken the flow of gradients go first: s = w (H g) (Wang et
    al. 2020, arXiv:2002.07376).

    The paper removes the largest of -w (H g), the change of |g|^2 / 2 as w goes to zero, so here
    those with the lowest, most negative s. g and H: of the mean cross-entropy of logits /
    temperature. Made for untrained networks, one shot, with Global.
    """

    help: ClassVar[str] = (
        "Weights that hold the gradient's flow back go first, so that what stays can learn: for networks that are trained after "
        "the cut. Scores can be negative. Reads labelled images."
    )
    formula: ClassVar[str] = "s = w (H g) of the loss with logits / 200; group: sum"
    source: ClassVar[str] = "Wang et al. 2020 (GraSP), arXiv:2002.07376"
    needs: ClassVar[str] = "labelled images"
    passes: ClassVar[str] = "2 forward, 2 backward, 1 backward through the backward pass"
    runs_network: ClassVar[bool] = True
    needs_data: ClassVar[bool] = True
    per_filter: ClassVar[bool] = False
    label: str = "GraSP"
    pool: str = "sum"
    temperature: float = 200.0

    def supports(self, layer: Layer) -> str | None:
        return None

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        w = weights(model, layers)
        return {
            name: w[name] * hg
            for name, hg in hessian_gradients(model, layers, batches, self.temperature).items()
        }


@dataclass(frozen=True)
class Obd:
    """Weights whose removal changes the loss least, to second order at a minimum: s = w^2 h / 2
    (LeCun et al. 1990).

    h, the diagonal of the Hessian, is the diagonal of the empirical Fisher matrix: the mean over
    images of the squared gradient of one image (Theis et al. 2018, arXiv:1801.05787). A group has
    the sum.
    """

    help: ClassVar[str] = (
        "Weights whose removal should change the loss least where its slope is zero, by its curvature. Reads labelled images "
        "and the gradient of each."
    )
    formula: ClassVar[str] = "s = w^2 mean_n g_n^2 / 2, g_n = the gradient of image n; group: sum"
    source: ClassVar[str] = (
        "LeCun et al. 1990, Optimal Brain Damage; Theis et al. 2018, arXiv:1801.05787"
    )
    needs: ClassVar[str] = "labelled images"
    passes: ClassVar[str] = "1 forward, 1 backward, with a gradient of its own for every image"
    runs_network: ClassVar[bool] = True
    needs_data: ClassVar[bool] = True
    per_filter: ClassVar[bool] = False
    label: str = "OBD (diagonal Fisher)"
    pool: str = "abs_sum"

    def supports(self, layer: Layer) -> str | None:
        return None

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        w = weights(model, layers)
        return {
            name: w[name].square() * h / 2
            for name, h in squared_gradients(model, layers, batches).items()
        }
