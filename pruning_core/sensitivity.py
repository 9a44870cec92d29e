"""How much does each layer mind? One layer at a time is pruned over a grid of sparsities, and accuracy is measured."""

from collections.abc import Iterator, Sequence
from copy import deepcopy

import torch
from torch import nn

from pruning_core.granularity import Granularity
from pruning_core.inventory import oihw
from pruning_core.masks import achieved, removed, select
from pruning_core.train import evaluate
from pruning_core.types import Evaluation, GroupScores, Layer, PruningError, SensitivityPoint, Split

GRID = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def scan(
    model: nn.Module,
    layers: tuple[Layer, ...],
    groups: GroupScores,
    g: Granularity,
    split: Split,
    *,
    grid: Sequence[float] = GRID,
    outputs: tuple[int, ...] | None = None,
    device: torch.device | None = None,
) -> Iterator[SensitivityPoint]:
    """Yields one measured point per layer and sparsity, layer by layer; all other layers are dense (interactions are not seen).

    Works on one copy of the model and restores each layer after use. A sparsity that removes no whole group is measured once, as
    dense. Raises PruningError for a grid outside [0, 1] (after Li et al. 2016, arXiv:1608.08710).
    """
    if not grid or not all(0 <= s <= 1 for s in grid):
        raise PruningError(f"The sparsity grid {tuple(grid)} must hold values in [0, 1].")
    copy = deepcopy(model)
    dense = evaluate(copy, split, outputs=outputs, device=device)
    for layer in layers:
        if layer.name in groups:
            yield from _curve(copy, layer, groups, g, split, grid, outputs, device, dense)


def _curve(
    model: nn.Module,
    layer: Layer,
    groups: GroupScores,
    g: Granularity,
    split: Split,
    grid: Sequence[float],
    outputs: tuple[int, ...] | None,
    device: torch.device | None,
    dense: Evaluation,
) -> Iterator[SensitivityPoint]:
    parameter = model.get_parameter(layer.name)
    original = parameter.detach().clone()
    measured: dict[int, Evaluation] = {0: dense}
    ratios = (g.fixed_ratio,) if g.fixed_ratio is not None else grid
    for ratio in sorted({0.0, *ratios}):
        mask = select(groups, (layer,), g, {layer.name: ratio})[layer.name]
        count = removed(g, ratio, groups[layer.name].shape[1])
        if count not in measured:
            with torch.no_grad():
                parameter.copy_((oihw(original, layer) * mask.to(original.device)).view_as(original))
            measured[count] = evaluate(model, split, outputs=outputs, device=device)
            with torch.no_grad():
                parameter.copy_(original)
        found = measured[count]
        gone = achieved({layer.name: mask})[layer.name]
        yield SensitivityPoint(layer.name, g.name, ratio, gone, found.loss, found.top1, found.n, found.interval)


def to_csv(points: Sequence[SensitivityPoint]) -> str:
    """Tidy table: parameter,granularity,sparsity,loss,top1 and then achieved,n,low,high."""
    head = "parameter,granularity,sparsity,loss,top1,achieved,n,low,high"
    rows = (
        f"{p.parameter},{p.granularity},{p.sparsity:g},{p.loss:.6f},{p.top1:.6f},{p.achieved:.6f},{p.n},{p.interval[0]:.6f},{p.interval[1]:.6f}"
        for p in points
    )
    return "\n".join([head, *rows]) + "\n"
