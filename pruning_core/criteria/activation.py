"""Criteria that read the activations of the calibration images, but no labels."""

from torch import nn

from pruning_core.criteria.weight import per_output
from pruning_core.model.activation_stats import OutputStats, input_norms, output_stats
from pruning_core.model.inventory import weights
from pruning_core.types import Batches, Layer, PruningError, Scores

HIDDEN_OUTPUTS = {
    "rnn": "feeds the gates of a recurrent layer, which go through no ReLU",
    "experts": "holds several experts, which the model reads without a module",
    "stacked": "holds several matrices, which the model reads without a module",
    "matrix": "is a parameter without a module",
    "embedding": "is an embedding, which gives its own rows",
}
"""Kind of layer -> why its outputs are not those that a ReLU reads."""


def wanda(model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
    """Small weights with weak inputs are removed first.

    s[o, j] = |w[o, j]| ||x_j||_2. The norm is L2 over the tokens or positions of an image, and root
    mean square over images. For a convolution, x_j is a column of the unfolded input. The paper
    compares inside each output row: the granularity row, or N:M. Sun et al. 2023, arXiv:2306.11695.
    """
    w = weights(model, layers)
    norms = input_norms(model, layers, batches)
    return {name: w[name].abs() * norm for name, norm in norms.items()}


def apoz(model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
    """Outputs that a ReLU would set to zero most often are removed first.

    s = 1 - APoZ, the fraction of images and positions where the output is above zero. It is counted
    on the layer's own output: after its batch norm, before a residual is added.
    Hu et al. 2016, arXiv:1607.03250.
    """
    stats = _seen_outputs(model, layers, batches)
    return {layer.name: per_output(stats[layer.name].above, layer) for layer in layers}


def mean_activation(model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
    """Outputs with a small mean after a ReLU are removed first.

    s = mean over images and positions of max(output, 0), measured where `apoz` counts.
    Molchanov et al. 2017, arXiv:1611.06440.
    """
    stats = _seen_outputs(model, layers, batches)
    return {layer.name: per_output(stats[layer.name].mean, layer) for layer in layers}


def _seen_outputs(
    model: nn.Module, layers: tuple[Layer, ...], batches: Batches
) -> dict[str, OutputStats]:
    """`output_stats`. Raises PruningError where a module's call does not show its outputs."""
    for layer in layers:
        if layer.fused or layer.kind in HIDDEN_OUTPUTS or not layer.called:
            raise PruningError(without_relu(layer) or "")
    return output_stats(model, layers, batches)


def without_relu(layer: Layer) -> str | None:
    """Why `apoz` and `mean_activation` cannot score the layer, or None."""
    if layer.heads:
        return f"{layer.name} is part of an attention layer, whose outputs go through no ReLU."
    if layer.is_output:
        return f"{layer.name} gives the model's outputs, which go through no ReLU."
    if layer.kind in HIDDEN_OUTPUTS:
        return f"{layer.name} {HIDDEN_OUTPUTS[layer.kind]}, so its outputs cannot be counted."
    if not layer.called:
        return (
            f"The model reads {layer.name} without calling its module, so its outputs are not "
            "seen: choose Wanda or magnitude."
        )
    return None
