"""Accuracy while a layer's slider moves: `IncrementalForward` against `evaluate` of a masked copy.

Run: python -m benchmarks.incremental [--rounds 5]. ResNet-20 at 28 x 28 with random weights, 512
images. Every round moves the slider of every layer once. Both give equal logits.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from benchmarks.timing import Row, command, interleaved
from pruning_core.evaluation.accuracy import evaluate, summarise
from pruning_core.evaluation.incremental import IncrementalForward
from pruning_core.masks import apply_masks, lowest
from pruning_core.model.inventory import inventory
from pruning_core.types import Layer
from pruning_core.zoo.models import ARCHITECTURES
from pruning_core.zoo.splits import TensorSplit

SHAPE = (1, 28, 28)
IMAGES = 512
CPU = torch.device("cpu")
PRIME = 97
"""Moves step through the numbers of removed weights by a prime, so that none repeats."""


@dataclass(eq=False)
class Sliders:
    """Moves sliders by both methods. Every move gives a mask that was not used before."""

    model: nn.Module
    layers: tuple[Layer, ...]
    split: TensorSplit
    forward: IncrementalForward
    moves: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def masked(self, index: int, move: int) -> nn.Module:
        """A copy with one layer masked."""
        layer = self.layers[index]
        scores = self.model.get_parameter(layer.name).detach().abs().reshape(1, -1)
        removed = lowest(scores, (move * PRIME) % (layer.numel - 1) + 1)
        return apply_masks(self.model, {layer.name: ~removed.view(layer.shape)}, self.layers)

    def logits(self, index: int, move: int) -> Tensor:
        return self.forward.logits(self.masked(index, move).state_dict())

    def move_all(self) -> None:
        """Every layer once, by `IncrementalForward`."""
        move = next(self.moves)
        for index in range(len(self.layers)):
            summarise(self.logits(index, move), self.split.labels)

    def evaluate_all(self) -> None:
        """Every layer once, by `evaluate`."""
        move = next(self.moves)
        for index in range(len(self.layers)):
            evaluate(self.masked(index, move), self.split, device=CPU)

    def equal(self) -> bool:
        """Do both methods give the same loss?"""
        ours = summarise(self.logits(3, 1), self.split.labels).loss
        return ours == evaluate(self.masked(3, 1), self.split, device=CPU).loss


def sliders() -> Sliders:
    """A ResNet-20 of random weights on random images; its dense pass is computed."""
    torch.manual_seed(0)
    model = ARCHITECTURES["resnet20"].build(SHAPE, 10).eval()
    pixels = torch.randint(0, 256, (IMAGES, *SHAPE), dtype=torch.uint8)
    split = TensorSplit(pixels, torch.zeros(IMAGES, dtype=torch.long), (0.5,), (0.25,))
    forward = IncrementalForward(model, split, device=CPU)
    forward.logits({})
    return Sliders(model, inventory(model, SHAPE), split, forward)


def row(rounds: int) -> Row:
    """Measures both methods in turn; then moves of the last layer, and back to an earlier mask."""
    made = sliders()
    seconds = interleaved({"ours": made.move_all, "peer": made.evaluate_all}, rounds)
    last = {
        "last": lambda: made.logits(-1, next(made.moves)),
        "back": lambda: made.logits(-1, 0),
    }
    seconds |= interleaved(last, 4 * rounds)
    more: dict[str, float | int | str] = {
        "identical": str(made.equal()),
        "moves": len(made.layers),
        "images": IMAGES,
        "last_layer_ms": seconds["last"].cpu * 1e3,
        "change_back_ms": seconds["back"].cpu * 1e3,
        "held_mib": made.forward.held // 2**20,
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
