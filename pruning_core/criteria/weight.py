"""Criteria that look at the weights alone."""

from dataclasses import dataclass
from typing import ClassVar
from zlib import crc32

import torch
from torch import Tensor, nn

from pruning_core.model.inventory import weights
from pruning_core.types import Batches, Layer, PruningError, Scores


@dataclass(frozen=True)
class Magnitude:
    """Small weights go first: s = |w|, pooled over a group by mean, root mean square or largest
    (Han et al. 2015, arXiv:1506.02626; Li et al. 2016, arXiv:1608.08710).
    """

    help: ClassVar[str] = "Small weights go first. Needs no data."
    formula: ClassVar[str] = "s = |w|; group: mean |w| (L1), sqrt(mean w^2) (L2) or max |w| (L∞)"
    source: ClassVar[str] = "Han et al. 2015, arXiv:1506.02626; Li et al. 2016, arXiv:1608.08710"
    needs: ClassVar[str] = "nothing"
    passes: ClassVar[str] = "none"
    runs_network: ClassVar[bool] = False
    needs_data: ClassVar[bool] = False
    per_filter: ClassVar[bool] = False
    label: str = "Magnitude (L1)"
    pool: str = "mean_abs"

    def supports(self, layer: Layer) -> str | None:
        return None

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        return {name: w.abs() for name, w in weights(model, layers).items()}


@dataclass(frozen=True)
class Random:
    """The baseline that every criterion must beat: s ~ U(0, 1), from the seed and the layer's name."""

    help: ClassVar[str] = "Chance decides: the baseline that a criterion must beat."
    formula: ClassVar[str] = "s ~ U(0, 1); group: mean"
    source: ClassVar[str] = "baseline of Blalock et al. 2020, arXiv:2003.03033"
    needs: ClassVar[str] = "nothing"
    passes: ClassVar[str] = "none"
    runs_network: ClassVar[bool] = False
    needs_data: ClassVar[bool] = False
    per_filter: ClassVar[bool] = False
    label: str = "Random"
    pool: str = "mean_abs"
    seed: int = 0

    def supports(self, layer: Layer) -> str | None:
        return None

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        return {
            layer.name: torch.rand(layer.shape, generator=self._generator(layer))
            for layer in layers
        }

    def _generator(self, layer: Layer) -> torch.Generator:
        # torch reads the low 32 bits of a seed only, so both must be mixed into them.
        return torch.Generator().manual_seed(crc32(f"{self.seed} {layer.name}".encode()))


@dataclass(frozen=True)
class BnScale:
    """Channels that batch norm scales down go first: s = |gamma| of the norm that follows (Liu et
    al. 2017, arXiv:1708.06519).
    """

    help: ClassVar[str] = (
        "Output channels that the following batch norm scales down go first (network slimming). Needs no data."
    )
    formula: ClassVar[str] = "s[o, i, h, w] = |gamma[o]|; group: mean"
    source: ClassVar[str] = "Liu et al. 2017, arXiv:1708.06519"
    needs: ClassVar[str] = "nothing"
    passes: ClassVar[str] = "none"
    runs_network: ClassVar[bool] = False
    needs_data: ClassVar[bool] = False
    per_filter: ClassVar[bool] = True
    label: str = "BN scale"
    pool: str = "mean_abs"

    def supports(self, layer: Layer) -> str | None:
        return (
            None
            if layer.bn
            else f"{layer.name} is not followed by a batch norm, so there is no scale to read."
        )

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        return {layer.name: per_output(self._scale(model, layer), layer) for layer in layers}

    def _scale(self, model: nn.Module, layer: Layer) -> Tensor:
        if layer.bn is None:
            raise PruningError(str(self.supports(layer)))
        return model.get_submodule(layer.bn).get_parameter("weight").detach().cpu().abs()


@dataclass(frozen=True)
class Fpgm:
    """Filters nearest to the geometric median of their layer go first, since others can stand in
    for them.

    s[o] = mean over j != o of ||W[o] - W[j]||_2, by double precision (He et al. 2019,
    arXiv:1811.00250). Rows of q, k and v are compared among their own kind.
    """

    help: ClassVar[str] = (
        "Filters that others of their layer can stand in for go first, small or not. Needs no data."
    )
    formula: ClassVar[str] = "s[o, i, h, w] = mean over j of ||W[o] - W[j]||_2; group: mean"
    source: ClassVar[str] = "He et al. 2019 (FPGM), arXiv:1811.00250"
    needs: ClassVar[str] = "nothing"
    passes: ClassVar[str] = "none; O^2 distances in a layer of O filters"
    runs_network: ClassVar[bool] = False
    needs_data: ClassVar[bool] = False
    per_filter: ClassVar[bool] = True
    label: str = "FPGM (geometric median)"
    pool: str = "mean_abs"

    def supports(self, layer: Layer) -> str | None:
        return (
            f"{layer.name} has a single filter, so there is no other to compare it with."
            if layer.shape[0] == 1
            else None
        )

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        found = weights(model, layers)
        return {
            layer.name: per_output(self._distances(found[layer.name], layer), layer)
            for layer in layers
        }

    def _distances(self, weight: Tensor, layer: Layer) -> Tensor:
        kinds = 3 if layer.kind == "attention_in" else 1
        filters: Tensor = weight.double().flatten(1).unflatten(0, (kinds, -1))
        return (
            (torch.cdist(filters, filters).sum(-1) / max(1, filters.shape[1] - 1)).flatten().float()
        )


def per_output(scores: Tensor, layer: Layer) -> Tensor:
    """One score per output, given to all its weights."""
    return scores.view(-1, 1, 1, 1).expand(layer.shape).clone()
