"""Criteria that look at the weights alone."""

from dataclasses import dataclass
from typing import ClassVar
from zlib import crc32

import torch
from torch import nn

from pruning_core.inventory import weights
from pruning_core.types import Batches, Layer, PruningError, Scores


@dataclass(frozen=True)
class Magnitude:
    """Small weights go first: s = |w|, pooled over a group by mean or root mean square (Han et al. 2015, arXiv:1506.02626)."""

    help: ClassVar[str] = "Small weights go first. Needs no data."
    formula: ClassVar[str] = "s = |w|; group: mean |w| (L1) or sqrt(mean w^2) (L2)"
    source: ClassVar[str] = "Han et al. 2015, arXiv:1506.02626; Li et al. 2016, arXiv:1608.08710"
    needs_data: ClassVar[bool] = False
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
    needs_data: ClassVar[bool] = False
    label: str = "Random"
    pool: str = "mean_abs"
    seed: int = 0

    def supports(self, layer: Layer) -> str | None:
        return None

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        return {layer.name: torch.rand(layer.shape, generator=self._generator(layer)) for layer in layers}

    def _generator(self, layer: Layer) -> torch.Generator:
        # torch reads the low 32 bits of a seed only, so both must be mixed into them.
        return torch.Generator().manual_seed(crc32(f"{self.seed} {layer.name}".encode()))


@dataclass(frozen=True)
class BnScale:
    """Channels that batch norm scales down go first: s = |gamma| of the norm that follows (Liu et al. 2017, arXiv:1708.06519)."""

    help: ClassVar[str] = "Output channels that the following batch norm scales down go first (network slimming). Needs no data."
    formula: ClassVar[str] = "s[o, i, h, w] = |gamma[o]|; group: mean"
    source: ClassVar[str] = "Liu et al. 2017, arXiv:1708.06519"
    needs_data: ClassVar[bool] = False
    label: str = "BN scale"
    pool: str = "mean_abs"

    def supports(self, layer: Layer) -> str | None:
        return None if layer.bn else f"{layer.name} is not followed by a batch norm, so there is no scale to read."

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        return {layer.name: self._scale(model, layer).expand(layer.shape).clone() for layer in layers}

    def _scale(self, model: nn.Module, layer: Layer) -> torch.Tensor:
        if layer.bn is None:
            raise PruningError(str(self.supports(layer)))
        return model.get_submodule(layer.bn).get_parameter("weight").detach().cpu().abs().view(-1, 1, 1, 1)
