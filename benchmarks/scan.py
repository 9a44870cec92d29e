"""A sensitivity scan: the plain loop of a course lab against `scan.scan`'s engine, same masks, same
batches.

Run: python -m benchmarks.scan [--rounds 3] [--models resnet18 resnet20 vit_b_16]. Random weights:
only the time is measured, in batches as `accuracy.evaluate` makes them (256 images; four for
vit_b_16). The limit is the work downstream of a layer over all work, in multiply-adds, averaged
over layers; the plain loop does all of it.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision import models

from benchmarks.timing import Row, interleaved
from pruning_core.evaluation.partial_forward import PartialForward
from pruning_core.masks import lowest
from pruning_core.model.graph import Program
from pruning_core.model.inventory import inventory
from pruning_core.types import Layer
from pruning_core.zoo.models import ARCHITECTURES
from pruning_core.zoo.splits import TensorSplit

SPARSITIES = (0.5, 0.6, 0.7, 0.8, 0.9)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Case:
    """A network, its inputs, and which layers are scanned: every `step`-th."""

    build: Callable[[], nn.Module]
    side: int
    images: int
    batch: int
    step: int
    wanted: float


CASES = {
    "resnet18": Case(lambda: models.resnet18(), 64, 256, 256, 1, 2.5),
    "resnet20": Case(
        lambda: ARCHITECTURES["resnet20"].build((3, 32, 32), 10), 32, 256, 256, 1, 2.5
    ),
    "vit_b_16": Case(lambda: models.vit_b_16(), 224, 4, 4, 5, 1.7),
}


def pruned_masks(model: nn.Module, layers: Sequence[Layer]) -> dict[str, list[Tensor]]:
    """Magnitude masks of every layer, one per sparsity, OIHW."""
    flat = {x.name: model.get_parameter(x.name).detach().abs().reshape(1, -1) for x in layers}
    return {
        x.name: [~lowest(flat[x.name], round(s * x.numel)).view(x.shape) for s in SPARSITIES]
        for x in layers
    }


@torch.inference_mode()
def plain(
    model: nn.Module,
    layers: Sequence[Layer],
    masks: dict[str, list[Tensor]],
    split: TensorSplit,
    batch: int,
) -> list[Tensor]:
    """For each layer and sparsity: mask the weight, run every image through the whole network, put
    the weight back.
    """
    found = []
    for layer in layers:
        parameter = model.get_parameter(layer.name)
        original = parameter.detach().clone()
        for mask in masks[layer.name]:
            parameter.copy_(original).mul_(mask.view(layer.param_shape))
            found.append(torch.cat([model(x) for x, _ in split.batches(batch)]))
        parameter.copy_(original)
    return found


def replayed(
    model: nn.Module,
    layers: Sequence[Layer],
    masks: dict[str, list[Tensor]],
    split: TensorSplit,
    batch: int,
) -> list[Tensor]:
    """The same points by the engine, its tracing included."""
    replay = PartialForward(model, split, device=CPU, batch_size=batch)
    return [logits for _, _, logits in replay.run(layers, lambda layer: masks[layer.name])]


def limit(program: Program, layers: Sequence[Layer], scanned: Sequence[Layer]) -> float:
    """Multiply-adds of the layers at or after a layer, over those of all; the mean over the scanned
    layers.
    """
    first = {x.name: program.downstream((x.name,))[0] for x in layers}
    place = {x.name: k for k, x in enumerate(layers)}

    def after(layer: Layer) -> int:
        below = set(program.downstream((layer.name,)))
        here = [x for x in layers if first[x.name] in below]
        return sum(
            x.macs
            for x in here
            if first[x.name] is not first[layer.name] or place[x.name] >= place[layer.name]
        )

    return sum(after(x) for x in scanned) / len(scanned) / sum(x.macs for x in layers)


def row(name: str, rounds: int) -> Row:
    """Measures one network, in turns, and checks that the logits are the same bit for bit."""
    case = CASES[name]
    torch.manual_seed(0)
    model = case.build().eval()
    layers = inventory(model, (3, case.side, case.side))
    scanned = layers[:: case.step]
    pixels = torch.randint(0, 256, (case.images, 3, case.side, case.side), dtype=torch.uint8)
    split = TensorSplit(pixels, torch.zeros(case.images, dtype=torch.long), (0.5,) * 3, (0.25,) * 3)
    masks = pruned_masks(model, scanned)
    arguments = (model, scanned, masks, split, case.batch)
    seen: dict[str, list[Tensor]] = {}
    calls = {
        "ours": lambda: seen.update(ours=replayed(*arguments)),
        "plain": lambda: seen.update(plain=plain(*arguments)),
    }
    seconds = interleaved(calls, rounds, warmup=0)
    same = all(map(torch.equal, seen["ours"], seen["plain"]))
    least = limit(
        PartialForward(model, split, device=CPU, batch_size=case.batch).forward.program,
        layers,
        scanned,
    )
    more: dict[str, float | int | str] = {
        "identical": str(same),
        "points": len(scanned) * len(SPARSITIES),
        "layers": f"{len(scanned)}/{len(layers)}",
        "limit": least,
        "over_limit": seconds["ours"].cpu / seconds["plain"].cpu / least,
        "images": case.images,
        "batch": case.batch,
    }
    title = f"scan, {name} at {case.side} x {case.side}"
    return Row(
        title,
        seconds["ours"],
        seconds["plain"],
        "plain loop of full forwards",
        case.wanted,
        more=more,
    )


def rows(rounds: int = 3, names: Sequence[str] = tuple(CASES)) -> list[Row]:
    """One row per network."""
    return [row(name, rounds) for name in names]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="+", default=list(CASES), choices=list(CASES))
    options = parser.parse_args()
    for found in rows(options.rounds, options.models):
        print(found, flush=True)
