"""One layer seen in many ways: cut by every granularity at one sparsity, its filters scored by
every criterion.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from jaxtyping import Bool, Float
from torch import Tensor, nn

from pruning_core.criteria import Criterion
from pruning_core.evaluation.accuracy import summarise
from pruning_core.evaluation.partial_forward import PartialForward, Zeroed
from pruning_core.granularity import GRANULARITIES, Granularity, from_groups, supports
from pruning_core.masks import group_scores, lowest, n_removed
from pruning_core.model.coupling.dependent_masks import dependent_masks
from pruning_core.model.coupling.positions import Coupling
from pruning_core.types import Batches, Evaluation, Layer, Scores, Split

HELD = 2**28
"""Bytes of cut weights that are held at a time: 256 MiB. Most layers have all their cuts measured
in one pass.
"""
ANY_FILTER = replace(GRANULARITIES["filter"], refuses=lambda _layer: None)
"""Filters as groups, to be looked at, not to be cut: of any layer, the output layer too."""


@dataclass(frozen=True, eq=False)
class GranularityResult:
    """One layer cut by one granularity, all others dense. mask: True = keep; achieved: share of its
    weights that goes.
    """

    granularity: Granularity
    mask: Bool[Tensor, "_o _i _h _w"]
    achieved: float
    evaluation: Evaluation


def group_scores_by_granularity(
    scores: Scores, layer: Layer, granularities: Iterable[Granularity], pool: str
) -> Iterator[tuple[Granularity, Float[Tensor, "_s _g"]]]:
    """The layer's group scores by each granularity that can cut it, one after the other."""
    for g in granularities:
        if supports(g, layer) is None:
            yield g, group_scores(scores, (layer,), g, pool)[layer.name]


def filter_scores(
    how: Criterion, model: nn.Module, layers: tuple[Layer, ...], batches: Batches
) -> dict[str, Float[Tensor, " _o"]]:
    """One score per filter (output) of each layer: the criterion's scores pooled over its weights,
    as when filters are cut.

    layers: those that the criterion supports, all of them, for some criteria compare across layers.
    """
    scores = how(model, layers, batches)
    return {
        layer.name: group_scores(scores, (layer,), ANY_FILTER, how.pool)[layer.name][0]
        for layer in layers
    }


def compare_granularities(
    model: nn.Module,
    layers: tuple[Layer, ...],
    layer: Layer,
    groups: Iterable[tuple[Granularity, Float[Tensor, "_s _g"]]],
    ratio: float,
    split: Split,
    *,
    tied: Sequence[Coupling] = (),
    outputs: Sequence[int] | None = None,
    allow_collapse: bool = False,
) -> Iterator[GranularityResult]:
    """Yields the cut of each granularity at that ratio, N:M at its own, with the accuracy measured
    when this layer alone is cut.

    groups: the layer's group scores by each granularity, read one after the other; layers, tied:
    all layers and the couplings, for whole outputs that go fall silent
    (`coupling.dependent_masks`). Every evaluation equals, bit for bit, that of the model with this
    mask and the same number of threads (`partial_forward`). Raises PruningError for a ratio outside [0, 1]
    or for no images.
    """
    replay = PartialForward(model, split)
    chosen = slice(None) if outputs is None else list(outputs)
    waiting = ((g, _mask(scores, g, layer, ratio, allow_collapse)) for g, scores in groups)
    while part := list(islice(waiting, max(1, HELD // (4 * layer.numel)))):
        changes = [_change(replay, model, layers, layer, g, mask, tied) for g, mask in part]
        for (g, mask), logits in zip(part, _measured(replay, changes), strict=True):
            gone = 1 - int(mask.sum()) / layer.numel
            yield GranularityResult(g, mask, gone, summarise(logits[:, chosen], split.labels))


def _measured(replay: PartialForward, changes: list[Zeroed]) -> Iterator[Tensor]:
    """The logits of each change, computed in one walk through the network."""
    site = tuple(dict.fromkeys(name for change in changes for name in change))
    return (logits for _, _, logits in replay.visits([site], lambda _site: changes))


def _change(
    replay: PartialForward,
    model: nn.Module,
    layers: tuple[Layer, ...],
    layer: Layer,
    g: Granularity,
    mask: Tensor,
    tied: Sequence[Coupling],
) -> Zeroed:
    """What stands in the place of the layer's weight, and of the biases and norms that fall silent
    with whole outputs.
    """
    silent = dependent_masks(model, layers, {layer.name: mask}, tied) if g.removes_outputs else {}
    return Zeroed(
        replay.forward.program.tensor, {layer.name: mask.reshape(layer.param_shape)} | silent
    )


def _mask(
    scores: Tensor, g: Granularity, layer: Layer, ratio: float, allow_collapse: bool
) -> Tensor:
    count = n_removed(g, 1.0 if g.n_kept else ratio, scores.shape[1], allow_collapse=allow_collapse)
    return from_groups(~lowest(scores, count), g, layer)
