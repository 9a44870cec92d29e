"""Criteria that read the weights alone."""

from dataclasses import dataclass
from zlib import crc32

import torch
from torch import Tensor, nn

from pruning_core.criteria.protocol import CriterionBase
from pruning_core.model.inventory import weights
from pruning_core.types import Batches, Layer, PruningError, Scores


def magnitude(model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
    """Weights of small magnitude are removed first.

    s = |w|. A group's score is the mean (L1), the root mean square (L2) or the maximum (L∞).
    Han et al. 2015, arXiv:1506.02626; Li et al. 2016, arXiv:1608.08710.
    """
    return {name: w.abs() for name, w in weights(model, layers).items()}


@dataclass(frozen=True, kw_only=True)
class Random(CriterionBase):
    """Weights are removed at random: the baseline that every other criterion must beat.

    s ~ U(0, 1), drawn from the seed and the layer's name. Blalock et al. 2020, arXiv:2003.03033.
    """

    seed: int = 0

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        return {
            layer.name: torch.rand(layer.shape, generator=self._generator(layer))
            for layer in layers
        }

    def _generator(self, layer: Layer) -> torch.Generator:
        # torch uses only the low 32 bits of a seed, so seed and name must both be mixed into them.
        return torch.Generator().manual_seed(crc32(f"{self.seed} {layer.name}".encode()))


def bn_scale(model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
    """Outputs with a small scale in the batch norm that follows are removed first.

    s[o, i, h, w] = |gamma[o]|. Network slimming: Liu et al. 2017, arXiv:1708.06519.
    Raises PruningError for a layer without a batch norm.
    """
    return {layer.name: per_output(_scale(model, layer), layer) for layer in layers}


def without_batch_norm(layer: Layer) -> str | None:
    """Why `bn_scale` cannot score the layer, or None."""
    if layer.bn:
        return None
    return f"{layer.name} is not followed by a batch norm, so there is no scale to read."


def _scale(model: nn.Module, layer: Layer) -> Tensor:
    if layer.bn is None:
        raise PruningError(str(without_batch_norm(layer)))
    return model.get_submodule(layer.bn).get_parameter("weight").detach().cpu().abs()


def fpgm(model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
    """Filters near the geometric median of their layer are removed first.

    s[o] = mean over j != o of ||W[o] - W[j]||_2, in double precision. Rows of query, key and value
    are compared only with rows of their own kind. He et al. 2019, arXiv:1811.00250.
    """
    w = weights(model, layers)
    return {
        layer.name: per_output(_mean_distances(w[layer.name], layer), layer) for layer in layers
    }


def single_filter(layer: Layer) -> str | None:
    """Why `fpgm` cannot score the layer, or None."""
    if layer.shape[0] > 1:
        return None
    return f"{layer.name} has a single filter, so there is no other to compare it with."


def _mean_distances(weight: Tensor, layer: Layer) -> Tensor:
    """Each filter's mean distance to the other filters."""
    kinds = 3 if layer.kind == "attention_in" else 1
    filters = weight.double().flatten(1).unflatten(0, (kinds, -1))
    others = max(1, filters.shape[1] - 1)
    means: Tensor = torch.cdist(filters, filters).sum(-1) / others
    return means.flatten().float()


def per_output(scores: Tensor, layer: Layer) -> Tensor:
    """Gives one score per output to all weights of that output: (O,) -> O x I x H x W, a copy."""
    return scores.view(-1, 1, 1, 1).expand(layer.shape).clone()
