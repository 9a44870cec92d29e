"""One layer in numbers: its groups, their scores, and what is kept. Without Streamlit."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from explorer.texts.translate import N_, _
from pruning_core.granularity import Granularity, to_groups
from pruning_core.hand_edits import GroupEdit
from pruning_core.types import Layer


@dataclass(frozen=True, eq=False)
class LayerFacts:
    """One layer under one plan.

    group_scores, group_kept: scope x group; None for a layer that the plan cannot prune;
    threshold: the lowest kept score, without groups edited by hand; None where groups compete in
    several scopes, and where nothing is removed; numbers: statistics of all weights.
    """

    layer: Layer
    group_scores: np.ndarray | None
    group_kept: np.ndarray | None
    threshold: float | None
    weights_kept: int
    numbers: Mapping[str, float]

    def broken(self, g: Granularity) -> int:
        """How many scopes do not keep N of M groups, because of hand edits; 0 for a dense layer."""
        if self.group_kept is None or g.n_kept is None:
            return 0
        kept = self.group_kept.sum(1)
        return 0 if (kept == self.group_kept.shape[1]).all() else int((kept != g.n_kept).sum())

    @property
    def statistics(self) -> dict[str, str]:
        """Numbers about the layer's weights, as text."""
        return {_(label): f"{number:.4f}" for label, number in self.numbers.items()}


def layer_facts(
    layer: Layer,
    weight: torch.Tensor,
    mask: torch.Tensor | None,
    scores: torch.Tensor | None,
    g: Granularity,
    edits: Iterable[GroupEdit] = (),
) -> LayerFacts:
    """The facts of a layer. weight, mask: O x I x H x W; scores: scope x group.

    mask and scores are None for a layer that the plan cannot prune.
    """
    kept = None if mask is None or scores is None else to_groups(mask, g, layer).any(-1).numpy()
    return LayerFacts(
        layer=layer,
        group_scores=None if scores is None else scores.numpy(),
        group_kept=kept,
        threshold=None
        if kept is None or scores is None
        else _threshold(scores.numpy(), kept, edits),
        weights_kept=layer.numel if mask is None else int(mask.sum()),
        numbers=_numbers(weight, mask),
    )


def _threshold(scores: np.ndarray, kept: np.ndarray, edits: Iterable[GroupEdit]) -> float | None:
    own = np.ones(kept.shape, bool)
    for scope, group, _keep in edits:
        own[scope, group] = False
    kept_by_rank = kept & own
    removed_by_rank = ~kept & own
    if len(kept) != 1 or not kept_by_rank.any() or not removed_by_rank.any():
        return None
    return float(scores[kept_by_rank].min())


def _numbers(weight: torch.Tensor, mask: torch.Tensor | None) -> dict[str, float]:
    magnitude = weight.abs()
    total = float(magnitude.sum() if mask is None else (magnitude * mask).sum())
    count = weight.numel() if mask is None else int(mask.sum())
    return {
        N_("Mean of the weights"): float(weight.mean()),
        N_("Standard deviation"): float(weight.std(correction=0)),
        N_("Largest |weight|"): float(magnitude.max()),
        N_("Mean |weight| before"): float(magnitude.mean()),
        N_("Mean |weight| of the kept"): total / count if count else 0.0,
    }
