"""Criteria that look at the activations of calibration images; labels are not read."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from pruning_core.criteria.weight import per_output
from pruning_core.model.activation_stats import input_norms, outputs
from pruning_core.model.inventory import weights
from pruning_core.types import Batches, Layer, Scores


@dataclass(frozen=True)
class Wanda:
    """Weights with a small product of size and input go first: s[o, j] = |w[o, j]| ||x_j||_2 (Sun
    et al. 2023, arXiv:2306.11695).

    ||x_j||: L2 over the tokens or positions of an image, root mean square over images; for a convolution x_j is a column of the
    unfolded input. The paper compares inside each output row: that is the granularity row (or N:M).
    """

    help: ClassVar[str] = (
        "Small weights on weak inputs go first. The paper compares inside each row: choose the granularity Row or N:M. "
        "Reads images, no labels."
    )
    formula: ClassVar[str] = (
        "s[o, j] = |w[o, j]| ||x_j||_2, x_j = the (unfolded) input that the weight multiplies; group: mean"
    )
    source: ClassVar[str] = "Sun et al. 2023 (Wanda), arXiv:2306.11695"
    needs: ClassVar[str] = "images, no labels"
    passes: ClassVar[str] = "1 forward"
    runs_network: ClassVar[bool] = True
    needs_data: ClassVar[bool] = True
    per_filter: ClassVar[bool] = False
    label: str = "Wanda |w| ‖x‖"
    pool: str = "mean_abs"

    def supports(self, layer: Layer) -> str | None:
        return None

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        w = weights(model, layers)
        return {
            name: w[name].abs() * norm for name, norm in input_norms(model, layers, batches).items()
        }


@dataclass(frozen=True)
class Apoz:
    """Outputs that are zero most often go first: s = 1 - APoZ = the share of positions above zero
    (Hu et al. 2016).

    arXiv:1607.03250. Counted on the layer's own output, after its batch norm and before any
    residual is added: the zeros that a ReLU there makes.
    """

    help: ClassVar[str] = (
        "Outputs that a ReLU would set to zero most often go first. Reads images, no labels."
    )
    formula: ClassVar[str] = (
        "s[o, i, h, w] = share of images and positions where output o is above 0; group: mean"
    )
    source: ClassVar[str] = "Hu et al. 2016 (Network Trimming), arXiv:1607.03250"
    needs: ClassVar[str] = "images, no labels"
    passes: ClassVar[str] = "1 forward"
    runs_network: ClassVar[bool] = True
    needs_data: ClassVar[bool] = True
    per_filter: ClassVar[bool] = True
    label: str = "APoZ (share of zeros)"
    pool: str = "mean_abs"

    def supports(self, layer: Layer) -> str | None:
        return _without_relu(layer)

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        found = outputs(model, layers, batches)
        return {layer.name: per_output(found[layer.name].above, layer) for layer in layers}


@dataclass(frozen=True)
class MeanActivation:
    """Outputs that are weak on average go first: s = mean of max(output, 0) (Molchanov et al. 2017,
    arXiv:1611.06440).

    Measured where `Apoz` counts: on the layer's own output, after its batch norm.
    """

    help: ClassVar[str] = (
        "Outputs that are weak on average, after a ReLU, go first. Reads images, no labels."
    )
    formula: ClassVar[str] = (
        "s[o, i, h, w] = mean over images and positions of max(output o, 0); group: mean"
    )
    source: ClassVar[str] = "Molchanov et al. 2017, arXiv:1611.06440; Polyak and Wolf 2015"
    needs: ClassVar[str] = "images, no labels"
    passes: ClassVar[str] = "1 forward"
    runs_network: ClassVar[bool] = True
    needs_data: ClassVar[bool] = True
    per_filter: ClassVar[bool] = True
    label: str = "Mean activation"
    pool: str = "mean_abs"

    def supports(self, layer: Layer) -> str | None:
        return _without_relu(layer)

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        found = outputs(model, layers, batches)
        return {layer.name: per_output(found[layer.name].mean, layer) for layer in layers}


def _without_relu(layer: Layer) -> str | None:
    if layer.heads:
        return f"{layer.name} is part of an attention layer, whose outputs go through no ReLU."
    return (
        f"{layer.name} gives the model's outputs, which go through no ReLU."
        if layer.is_output
        else None
    )
