"""The criterion of the optimal brain surgeon, layer by layer."""

import torch
from torch import nn

from pruning_core.model.input_rows import MOST_INPUTS, damped, second_moments
from pruning_core.model.inventory import weights
from pruning_core.types import Batches, Layer, PruningError, Scores

CONVOLVED = ("conv1d", "conv2d", "conv3d", "depthwise")


def obs(model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
    """Weights whose removal changes the layer's outputs least are removed first, if the row's other
    weights may follow.

    s = w_q^2 / (2 [H^-1]_qq), H = E[x x^T] + 0.01 mean(diag) I of the layer's (unfolded) inputs in
    the dense network, the same for every row. It is the increase of the squared error of the
    outputs after the update of the other weights, which the repair obs makes. All weights are
    scored once. Frantar and Alistarh 2022 (OBC), arXiv:2208.11580; 2023 (SparseGPT),
    arXiv:2301.00774. Raises PruningError for a layer whose inputs are not seen.
    """
    if not batches:
        raise PruningError("This criterion reads activations: give it at least one batch.")
    w = weights(model, layers)
    scores = {layer.name: torch.full(layer.shape, -1.0) for layer in layers}
    for product, second in second_moments(model, layers, batches):
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped(second)))
        name = product.layer.name
        own = product.matrices(w[name]).double().square()
        saliency = own / (2 * inverse.diagonal(dim1=1, dim2=2)[:, None])
        part = scores[name][product.start : product.start + product.outputs]
        part.copy_(saliency.reshape(part.shape))
    for name, score in scores.items():
        if (score < 0).any():
            raise PruningError(
                f"The inputs of {name} are not seen, so OBS cannot score it: choose another "
                "criterion."
            )
    return scores


def without_inputs(layer: Layer) -> str | None:
    """Why the layer's inputs are not read as rows; None where they are."""
    if not layer.macs:
        return (
            f"The network does not read {layer.name} for this input, so OBS cannot see its inputs."
        )
    inputs = layer.numel // layer.shape[0]
    if inputs > MOST_INPUTS:
        return (
            f"{layer.name} has {inputs:,} inputs per output; OBS inverts matrices of at most "
            f"{MOST_INPUTS:,}."
        )
    plain = layer.kind in CONVOLVED or layer.linear
    if layer.fused or (plain and layer.called and not layer.layout and not layer.aliases):
        return None
    return (
        f"OBS reads the inputs of linear layers, convolutions and attention; {layer.name} is "
        f"another kind ({layer.kind}), is stored transposed, or several modules read it."
    )
