"""One slider move on a layer of 2.4 million weights, against `prune.l1_unstructured`.

Run: python -m benchmarks.slider [--rounds 15]. A move gives mask, counts and histogram; the peer
gives its mask only. The scores are ranked once per layer, and the time for that is a column.
"""

import itertools
import time

import torch
from torch import nn
from torch.nn.utils import prune

from benchmarks.timing import Row, command, interleaved
from pruning_core.granularity import from_groups, granularity
from pruning_core.masks import rank_groups
from pruning_core.types import Layer

SHAPE = (512, 512, 3, 3)
RATIOS = (0.1, 0.3, 0.5, 0.7, 0.9)


def row(rounds: int) -> Row:
    """Measures both in turn. The ratio changes with every move."""
    torch.manual_seed(0)
    module = nn.Conv2d(SHAPE[1], SHAPE[0], SHAPE[2])
    layer = Layer("conv.weight", "conv", "conv2d", SHAPE, SHAPE)
    scores = module.weight.detach().abs().reshape(1, -1)
    fine = granularity("fine")
    start = time.process_time()
    ranked = rank_groups(scores, 60)
    ranking_s = time.process_time() - start
    our_ratios = itertools.cycle(RATIOS)
    peer_ratios = itertools.cycle(RATIOS)

    def move() -> tuple[torch.Tensor, int, torch.Tensor]:
        count = round(next(our_ratios) * layer.numel)
        return (
            from_groups(ranked.kept(count), fine, layer),
            layer.numel - count,
            ranked.histogram(count),
        )

    def peer() -> None:
        _peer_move(module, round(next(peer_ratios) * layer.numel))

    same = _same(module, ranked.kept(round(0.5 * layer.numel)))
    seconds = interleaved({"ours": move, "peer": peer}, rounds)
    more: dict[str, float | int | str] = {
        "weights": layer.numel,
        "identical": str(same),
        "prepared_once_s": ranking_s,
    }
    return Row(
        "slider move, 2.4M weights",
        seconds["ours"],
        seconds["peer"],
        "prune.l1_unstructured",
        30,
        more=more,
    )


def _peer_move(module: nn.Conv2d, count: int) -> None:
    """Masks the `count` smallest weights, then restores the weights."""
    prune.l1_unstructured(module, "weight", amount=count)
    original = module.get_parameter("weight_orig")
    prune.remove(module, "weight")
    with torch.no_grad():
        module.get_parameter("weight").copy_(original)


def _same(module: nn.Conv2d, kept: torch.Tensor) -> bool:
    mask = prune.L1Unstructured(0.5).compute_mask(module.weight.detach(), torch.ones(SHAPE))
    return torch.equal(mask.bool().flatten(), kept.flatten())


def rows(rounds: int = 15) -> list[Row]:
    """The one row."""
    return [row(rounds)]


if __name__ == "__main__":
    command(rows, 15, __doc__)
