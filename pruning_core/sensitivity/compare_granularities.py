"""One layer pruned by every granularity at one ratio, and its filters scored by a criterion."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from jaxtyping import Bool, Float
from torch import Tensor, nn

from pruning_core.criteria import Criterion, scores_by_part
from pruning_core.evaluation.accuracy import Judge
from pruning_core.evaluation.partial_forward import PartialForward, Zeroed
from pruning_core.granularity import GRANULARITIES, Granularity, from_groups, supports
from pruning_core.masks import lowest, mean_group_scores, n_removed
from pruning_core.model.coupling.positions import Coupling
from pruning_core.repairs import BoundRepair
from pruning_core.sensitivity.prune_units import UnitPruner
from pruning_core.tasks.task import Parts
from pruning_core.types import Batches, Evaluation, Layer, Scores, Split

MAX_BYTES = 2**28
"""Bytes of pruned weights that are held at once (256 MiB): most layers need one pass."""
ANY_FILTER = replace(GRANULARITIES["filter"], refuses=lambda _layer: None)
"""Filters as groups of every layer, the output layer too. Only for display, not to prune."""


@dataclass(frozen=True, eq=False)
class GranularityResult:
    """One layer pruned by one granularity; all other layers are dense.

    mask: True = keep. achieved: the fraction of the layer's weights that was removed.
    """

    granularity: Granularity
    mask: Bool[Tensor, "_o _i _h _w"]
    achieved: float
    evaluation: Evaluation


def group_scores_by_granularity(
    parts: Sequence[Scores], layer: Layer, granularities: Iterable[Granularity], pool: str
) -> Iterator[tuple[Granularity, Float[Tensor, "_s _g"]]]:
    """Yields the layer's group scores by each granularity that supports the layer.

    parts: the scores of the layer's weights, by `scores_by_part`.
    """
    for g in granularities:
        if supports(g, layer) is None:
            yield g, mean_group_scores(parts, (layer,), g, pool)[layer.name]


def filter_scores(
    criterion: Criterion, model: nn.Module, layers: tuple[Layer, ...], batches: Batches
) -> dict[str, Float[Tensor, " _o"]]:
    """One score per filter (output) of each layer, pooled as when filters are pruned.

    layers: all that the criterion supports, because some criteria compare layers.
    """
    parts = scores_by_part(criterion, model, layers, batches)
    groups = mean_group_scores(parts, layers, ANY_FILTER, criterion.pool)
    return {layer.name: groups[layer.name][0] for layer in layers}


def compare_granularities(
    model: nn.Module,
    layers: tuple[Layer, ...],
    layer: Layer,
    groups: Iterable[tuple[Granularity, Float[Tensor, "_s _g"]]],
    ratio: float,
    split: Split,
    *,
    tied: Sequence[Coupling] = (),
    judge: Judge | None = None,
    allow_collapse: bool = False,
    repairing: BoundRepair | None = None,
) -> Iterator[GranularityResult]:
    """Yields the mask of each granularity and the task's value with this layer alone pruned.

    groups: the layer's group scores by granularity; they are read one after the other.
    judge: of the data set; without it, of classification on all logits.
    ratio: in [0, 1]; N:M granularities use their own.
    layers, tied: all layers and the couplings, for `dependent_masks` of removed outputs.
    repairing: repairs each pruned network before it is measured.
    Every evaluation equals, bit for bit, that of the model with this mask and the same number of
    threads (`PartialForward`).
    Raises PruningError for a ratio outside [0, 1] and for a split without images.
    """
    judge = judge or Judge()
    masks = ((g, _mask(scores, g, layer, ratio, allow_collapse)) for g, scores in groups)
    if repairing is not None:
        for g, mask in masks:
            pruner = UnitPruner(model, layers, g, tied)
            network = pruner.repaired_copy({layer.name: mask}, repairing)
            yield _result(g, mask, judge.evaluate(network, split))
        return
    partial_forward = PartialForward(model, split, batch_size=judge.task.batch_size, judge=judge)
    while part := list(islice(masks, max(1, MAX_BYTES // (4 * layer.numel)))):
        keep = [UnitPruner(model, layers, g, tied).all_masks({layer.name: m}) for g, m in part]
        measurements = _measured(partial_forward, keep, judge)
        for (g, mask), parts in zip(part, measurements, strict=True):
            yield _result(g, mask, judge.summarise(parts))


def _result(g: Granularity, mask: Tensor, evaluation: Evaluation) -> GranularityResult:
    return GranularityResult(g, mask, 1 - int(mask.sum()) / mask.numel(), evaluation)


def _measured(
    partial_forward: PartialForward, keep: list[dict[str, Tensor]], judge: Judge
) -> Iterator[list[Parts]]:
    """What is measured with each set of masks, computed in one pass through the network."""
    tensors = partial_forward.forward.program.tensor
    changes = [Zeroed(tensors, masks) for masks in keep]
    site = tuple(dict.fromkeys(name for change in changes for name in change))
    read = partial_forward.forward.measured_by(judge)
    return (parts for _, _, parts in partial_forward.read_at([site], lambda _site: changes, read))


def _mask(
    scores: Tensor, g: Granularity, layer: Layer, ratio: float, allow_collapse: bool
) -> Tensor:
    used = 1.0 if g.n_kept else ratio
    count = n_removed(g, used, scores.shape[1], allow_collapse=allow_collapse)
    return from_groups(~lowest(scores, count), g, layer)
