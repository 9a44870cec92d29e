"""How much does each layer mind? One layer at a time is pruned over a grid of sparsities, and accuracy is measured."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from pruning_core.granularity import Granularity, from_groups
from pruning_core.masks import lowest, removed
from pruning_core.replay import Replay
from pruning_core.train import evaluate, summarise
from pruning_core.types import GroupScores, Layer, PruningError, SensitivityPoint, Split

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

    Every point equals, bit for bit, an evaluation of the model with that layer alone masked; only what lies downstream of the
    layer is computed for it (`replay`). A sparsity that removes no whole group is measured once, as dense. Closing the generator
    stops it. Raises PruningError for a grid outside [0, 1] (after Li et al. 2016, arXiv:1608.08710).
    """
    if not grid or not all(0 <= s <= 1 for s in grid):
        raise PruningError(f"The sparsity grid {tuple(grid)} must hold values in [0, 1].")
    taken = tuple(layer for layer in layers if layer.name in groups)
    ratios = sorted({0.0, *((g.fixed_ratio,) if g.fixed_ratio is not None else grid)})
    curves = {x.name: [(ratio, removed(g, ratio, groups[x.name].shape[1])) for ratio in ratios] for x in taken}

    def masks(layer: Layer) -> list[Tensor]:
        counts = dict.fromkeys(count for _, count in curves[layer.name] if count)
        return [from_groups(~lowest(groups[layer.name], count), g, layer) for count in counts]

    dense = evaluate(model, split, outputs=outputs, device=device)
    chosen = slice(None) if outputs is None else list(outputs)
    found = Replay(model, split, device=device).run(taken, masks)
    for layer in taken:
        known = {0: dense}
        for ratio, count in curves[layer.name]:
            if count not in known:
                _, _, logits = next(found)
                known[count] = summarise(logits[:, chosen], split.labels)
            gone = 1 - (layer.numel - count * layer.numel // groups[layer.name].shape[1]) / layer.numel
            score = known[count]
            yield SensitivityPoint(layer.name, g.name, ratio, gone, score.loss, score.top1, score.n, score.interval)


def to_csv(points: Sequence[SensitivityPoint]) -> str:
    """Tidy table: parameter,granularity,sparsity,loss,top1 and then achieved,n,low,high."""
    head = "parameter,granularity,sparsity,loss,top1,achieved,n,low,high"
    rows = (
        f"{p.parameter},{p.granularity},{p.sparsity:g},{p.loss:.6f},{p.top1:.6f},{p.achieved:.6f},{p.n},{p.interval[0]:.6f},{p.interval[1]:.6f}"
        for p in points
    )
    return "\n".join([head, *rows]) + "\n"
