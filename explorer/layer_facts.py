"""What the pages tell about one layer: its groups, their scores, what is kept. Arrays only; knows no Streamlit."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from pruning_core.granularity import Granularity, supports, to_groups
from pruning_core.types import Layer

CORNER = 512
LARGEST = 1 << 22
"""Layers of more weights than this are shown by their first CORNER filters and channels."""


@dataclass(frozen=True, eq=False)
class LayerFacts:
    """One layer under one plan. All arrays O I H W of the part that is shown, but group_scores and group_kept (scope x group).

    ids: the group of each weight; scores: its group's score, None for a layer that the plan cannot cut; whole: is all shown?
    numbers: about all weights, shown or not.
    """

    layer: Layer
    weight: np.ndarray
    kept: np.ndarray
    ids: np.ndarray
    scores: np.ndarray | None
    group_scores: np.ndarray | None
    group_kept: np.ndarray | None
    weights_kept: int
    whole: bool
    numbers: Mapping[str, float]

    @property
    def threshold(self) -> float | None:
        """The lowest kept score where all groups compete in one scope, else None; None too where nothing is removed."""
        if self.group_scores is None or self.group_kept is None or len(self.group_scores) != 1:
            return None
        if self.group_kept.all() or not self.group_kept.any():
            return None
        return float(self.group_scores[self.group_kept].min())

    @property
    def statistics(self) -> dict[str, str]:
        """Numbers about the layer's weights, as text."""
        return {label: f"{number:.4f}" for label, number in self.numbers.items()}


def layer_facts(
    layer: Layer, weight: torch.Tensor, mask: torch.Tensor | None, scores: torch.Tensor | None, g: Granularity
) -> LayerFacts:
    """weight, mask: O I H W; scores: scope x group; mask and scores are None for a layer that the plan cannot cut."""
    whole = layer.numel <= LARGEST
    part = layer if whole else _corner(layer)
    o, i = part.shape[:2]
    kept = torch.ones(part.shape, dtype=torch.bool) if mask is None else mask[:o, :i]
    ids = group_ids(part, g)
    spread = None if scores is None or not whole else scores.flatten()[ids]
    return LayerFacts(
        layer=layer,
        weight=weight[:o, :i].numpy(),
        kept=kept.numpy(),
        ids=ids.numpy(),
        scores=None if spread is None else spread.numpy(),
        group_scores=None if scores is None else scores.numpy(),
        group_kept=None if scores is None or mask is None else kept_groups(mask, layer, g).numpy(),
        weights_kept=layer.numel if mask is None else int(mask.sum()),
        whole=whole,
        numbers=_numbers(weight, mask),
    )


def _numbers(weight: torch.Tensor, mask: torch.Tensor | None) -> dict[str, float]:
    """About all weights of the layer, however much of it is drawn."""
    magnitude = weight.abs()
    total = float(magnitude.sum() if mask is None else (magnitude * mask).sum())
    count = weight.numel() if mask is None else int(mask.sum())
    return {
        "Mean of the weights": float(weight.mean()),
        "Standard deviation": float(weight.std(correction=0)),
        "Largest |weight|": float(magnitude.max()),
        "Mean |weight| before": float(magnitude.mean()),
        "Mean |weight| of the kept": total / count if count else 0.0,
    }


def group_ids(layer: Layer, g: Granularity) -> torch.Tensor:
    """O I H W: the number of each weight's group, scope by scope; each weight its own where the layer cannot be cut so."""
    index = torch.arange(layer.numel).view(layer.shape)
    if supports(g, layer) is not None:
        return index
    groups = to_groups(index, g, layer)
    scopes, count, elements = groups.shape
    ids = torch.empty(layer.numel, dtype=torch.long)
    ids[groups.reshape(scopes * count, elements)] = torch.arange(scopes * count)[:, None]
    return ids.view(layer.shape)


def kept_groups(mask: torch.Tensor, layer: Layer, g: Granularity) -> torch.Tensor:
    """Scope x group: is the group kept?"""
    return to_groups(mask, g, layer).any(-1)


def _corner(layer: Layer) -> Layer:
    o, i, h, w = layer.shape
    return replace(layer, shape=(min(o, CORNER), min(i, CORNER), h, w))
