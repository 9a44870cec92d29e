"""The Explore page's accuracy while one layer's slider moves: `IncrementalForward` against
`evaluate` of the masked copy, same logits.

Run: python -m benchmarks.live [--rounds 5]. ResNet-20 at 28 x 28, 512 images, random weights; every
layer is moved once a round.
"""

import itertools

import torch
from torch import Tensor

from benchmarks.timing import Row, command, interleaved
from pruning_core.evaluation.accuracy import evaluate, summarise
from pruning_core.evaluation.incremental import IncrementalForward
from pruning_core.masks import apply_masks, lowest
from pruning_core.model.inventory import inventory
from pruning_core.zoo.models import ARCHITECTURES
from pruning_core.zoo.splits import TensorSplit

SHAPE = (1, 28, 28)
IMAGES = 512
CPU = torch.device("cpu")


def row(rounds: int) -> Row:
    """Measures both, in turns, at sparsities that were not seen before; beside them, moving the
    last layer alone, and back.
    """
    torch.manual_seed(0)
    model = ARCHITECTURES["resnet20"].build(SHAPE, 10).eval()
    layers = inventory(model, SHAPE)
    sparsity = itertools.count(1)
    pixels = torch.randint(0, 256, (IMAGES, *SHAPE), dtype=torch.uint8)
    split = TensorSplit(pixels, torch.zeros(IMAGES, dtype=torch.long), (0.5,), (0.25,))
    flat = {x.name: model.get_parameter(x.name).detach().abs().reshape(1, -1) for x in layers}
    live = IncrementalForward(model, split, device=CPU)
    live.logits({})

    def mask(index: int, step: int) -> dict[str, Tensor]:
        layer = layers[index]
        return {
            layer.name: ~lowest(flat[layer.name], (step * 97) % (layer.numel - 1) + 1).view(
                layer.shape
            )
        }

    def ours(index: int, step: int) -> Tensor:
        return live.logits(apply_masks(model, mask(index, step), layers).state_dict())

    def every() -> None:
        step = next(sparsity)
        for index in range(len(layers)):
            summarise(ours(index, step), split.labels)

    def peer() -> None:
        step = next(sparsity)
        for index in range(len(layers)):
            evaluate(apply_masks(model, mask(index, step), layers), split, device=CPU)

    seconds = interleaved({"ours": every, "peer": peer}, rounds)
    seconds |= interleaved(
        {"last": lambda: ours(-1, next(sparsity)), "back": lambda: ours(-1, 0)}, 4 * rounds
    )
    wanted = evaluate(apply_masks(model, mask(3, 1), layers), split, device=CPU).loss
    same = summarise(ours(3, 1), split.labels).loss == wanted
    more: dict[str, float | int | str] = {
        "identical": str(same),
        "moves": len(layers),
        "images": IMAGES,
        "last_layer_ms": seconds["last"].cpu * 1e3,
        "change_back_ms": seconds["back"].cpu * 1e3,
        "held_mib": live.held // 2**20,
    }
    return Row(
        "accuracy after a slider move, ResNet-20",
        seconds["ours"],
        seconds["peer"],
        "evaluate of a copy",
        2,
        more=more,
    )


def rows(rounds: int = 5) -> list[Row]:
    """The one row."""
    return [row(rounds)]


if __name__ == "__main__":
    command(rows, 5, __doc__)
