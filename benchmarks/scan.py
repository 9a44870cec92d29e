"""A sensitivity scan: a plain loop of full forward passes against `scan.scan`'s `PartialForward`.

Run: python -m benchmarks.scan [--rounds 3] [--models resnet18 resnet20 vit_b_16 bert vit llama].
The last three are of Hugging Face's transformers, which torch.fx cannot trace; they read 64 tokens,
or images. Both use the same masks and the batches of `accuracy.evaluate`: 256 images, four or eight
for a transformer. The weights are random, because only the time is measured. limit: multiply-adds
downstream of a layer over those of the whole network, averaged over layers; the plain loop computes
the whole network for every point. counted: multiply-adds that the plain loop computes over those
of ours, with tracing, proof and the dense pass: unlike a time, it does not vary with the load.
"""

import argparse
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

from benchmarks.timing import Row, Unmeasured, interleaved
from pruning_core.evaluation.partial_forward import PartialForward
from pruning_core.masks import lowest
from pruning_core.model.graph import Program
from pruning_core.model.inventory import inventory
from pruning_core.model.model_io import logits as model_logits
from pruning_core.subjects.samples import Samples
from pruning_core.types import Layer, Split
from pruning_core.zoo.models import ARCHITECTURES
from pruning_core.zoo.splits import TensorSplit

SPARSITIES = (0.5, 0.6, 0.7, 0.8, 0.9)
CPU = torch.device("cpu")
TOKENS = 64


def hugging_face(architecture: str, **more: int) -> nn.Module:
    """A model of transformers with random weights and 12 blocks of the size of BERT base."""
    try:
        import transformers
    except ImportError as error:
        raise Unmeasured("transformers is not installed") from error
    model = getattr(transformers, architecture)
    sizes = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
    built: nn.Module = model(model.config_class(**sizes, **more))
    return built


@dataclass(frozen=True)
class Case:
    """A network and its inputs. Every `step`-th layer is scanned. wanted: the promised ratio.

    side: of the images, 0 for sentences of `TOKENS` tokens.
    """

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
    "bert": Case(lambda: hugging_face("BertForSequenceClassification"), 0, 8, 8, 9, 1.7),
    "vit": Case(lambda: hugging_face("ViTForImageClassification"), 224, 4, 4, 9, 1.7),
    "llama": Case(
        lambda: hugging_face(
            "LlamaForSequenceClassification",
            intermediate_size=2048,
            num_key_value_heads=4,
            vocab_size=1000,
            pad_token_id=0,
        ),
        0,
        8,
        8,
        3,
        1.7,
    ),
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
    split: Split,
    batch: int,
) -> list[Tensor]:
    """Logits of each layer and sparsity: all images run through the whole masked network."""
    logits = []
    for layer in layers:
        parameter = model.get_parameter(layer.name)
        original = parameter.detach().clone()
        for mask in masks[layer.name]:
            parameter.copy_(original).mul_(mask.view(layer.param_shape))
            logits.append(torch.cat([model_logits(model, x) for x, _ in split.batches(batch)]))
        parameter.copy_(original)
    return logits


def partial(
    model: nn.Module,
    layers: Sequence[Layer],
    masks: dict[str, list[Tensor]],
    split: Split,
    batch: int,
) -> list[Tensor]:
    """The same logits by `PartialForward`, with the time for tracing."""
    partial_forward = PartialForward(model, split, device=CPU, batch_size=batch)
    return [logits for _, _, logits in partial_forward.run(layers, lambda layer: masks[layer.name])]


def limit(program: Program, layers: Sequence[Layer], scanned: Sequence[Layer]) -> float:
    """The mean over scanned layers: multiply-adds at or after a layer, over those of all layers."""
    first = {x.name: program.downstream((x.name,))[0] for x in layers}
    position = {x.name: k for k, x in enumerate(layers)}

    def after(layer: Layer) -> int:
        below = set(program.downstream((layer.name,)))
        reached = [x for x in layers if first[x.name] in below]
        return sum(
            x.macs
            for x in reached
            if first[x.name] is not first[layer.name] or position[x.name] >= position[layer.name]
        )

    return sum(after(x) for x in scanned) / len(scanned) / sum(x.macs for x in layers)


def counted(
    model: nn.Module,
    layers: Sequence[Layer],
    masks: dict[str, list[Tensor]],
    split: Split,
) -> float:
    """Multiply-adds of the plain loop over ours, in one batch. One sample is computed.

    A model is traced and proved on one sample, so that this part does not grow with the images.
    """
    one = split.subset(range(1))
    with FlopCounterMode(display=False) as tracing:
        ours = PartialForward(model, one, device=CPU, batch_size=1, workers=1)
    with FlopCounterMode(display=False) as passes:
        deque(ours.run(layers, lambda layer: masks[layer.name]), maxlen=0)
    with torch.inference_mode(), FlopCounterMode(display=False) as full:
        model_logits(model, next(iter(one.batches(1)))[0])
    images = len(split)
    points = sum(len(masks[layer.name]) for layer in layers)
    computed = tracing.get_total_flops() + images * passes.get_total_flops()
    return points * images * full.get_total_flops() / computed


def made_inputs(case: Case) -> tuple[nn.Module, tuple[Layer, ...], Split]:
    """The network with random weights, its layers, and random images or sentences."""
    torch.manual_seed(0)
    model = case.build().eval()
    labels = torch.zeros(case.images, dtype=torch.long)
    if not case.side:
        words = torch.randint(5, 1000, (case.images, TOKENS))
        x = {"input_ids": words, "attention_mask": torch.ones_like(words)}
        split = Samples(x, labels, torch.arange(case.images), "val")
        return model, inventory(model, split.x), split
    layers = inventory(model, (3, case.side, case.side))
    pixels = torch.randint(0, 256, (case.images, 3, case.side, case.side), dtype=torch.uint8)
    return model, layers, TensorSplit(pixels, labels, (0.5,) * 3, (0.25,) * 3)


def row(name: str, rounds: int) -> Row:
    """Measures one network, in turn, and checks that the logits are equal bit for bit."""
    case = CASES[name]
    model, layers, split = made_inputs(case)
    scanned = layers[:: case.step]
    arguments = (model, scanned, pruned_masks(model, scanned), split, case.batch)
    logits: dict[str, list[Tensor]] = {}
    calls = {
        "ours": lambda: logits.update(ours=partial(*arguments)),
        "plain": lambda: logits.update(plain=plain(*arguments)),
    }
    seconds = interleaved(calls, rounds, warmup=0)
    traced = PartialForward(model, split, device=CPU, batch_size=case.batch)
    least = limit(traced.forward.program, layers, scanned)
    more: dict[str, float | int | str] = {
        "identical": str(all(map(torch.equal, logits["ours"], logits["plain"]))),
        "points": len(scanned) * len(SPARSITIES),
        "layers": f"{len(scanned)}/{len(layers)}",
        "limit": least,
        "counted": counted(model, scanned, pruned_masks(model, scanned), split),
        "over_limit": seconds["ours"].cpu / seconds["plain"].cpu / least,
        "images": case.images,
        "batch": case.batch,
    }
    inputs = f"at {case.side} x {case.side}" if case.side else f"of {TOKENS} tokens"
    title = f"scan, {name} {inputs}"
    peer = "plain loop of full forwards"
    return Row(title, seconds["ours"], seconds["plain"], peer, case.wanted, more=more)


def rows(rounds: int = 3, names: Sequence[str] = tuple(CASES)) -> Iterator[Row]:
    """One row per network."""
    for name in names:
        yield row(name, rounds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="+", default=list(CASES), choices=list(CASES))
    options = parser.parse_args()
    for made in rows(options.rounds, options.models):
        print(made, flush=True)
