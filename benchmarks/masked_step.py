"""A fine-tuning step with masks, without masks, and with masks of torch.nn.utils.prune.

Run: python -m benchmarks.masked_step [--rounds 15]. ResNet-20 at 32 x 32, batch 128, SGD with
momentum, 80% of the weights removed.
"""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import prune

from benchmarks.timing import Row, command, interleaved
from pruning_core.masks import lowest
from pruning_core.model.inventory import inventory
from pruning_core.training.config import TrainConfig
from pruning_core.training.fine_tune import _Run, _start
from pruning_core.training.hook import StatelessHook
from pruning_core.types import Dataset, Masks
from pruning_core.zoo.models import ARCHITECTURES
from pruning_core.zoo.splits import TensorSplit

SHAPE = (3, 32, 32)
BATCH = 128
SPARSITY = 0.8


def images() -> Dataset:
    """One batch of random images, for all three splits."""
    pixels = torch.randint(0, 256, (BATCH, *SHAPE), dtype=torch.uint8)
    split = TensorSplit(pixels, torch.arange(BATCH) % 10, (0.5,) * 3, (0.25,) * 3)
    return Dataset("noise", tuple("0123456789"), SHAPE, split, split, split)


def peer_step(
    model: nn.Module, masks: Masks, x: torch.Tensor, y: torch.Tensor
) -> Callable[[], object]:
    """A step on a model that torch.nn.utils.prune masks in every forward pass."""
    work = deepcopy(model).to(memory_format=torch.channels_last).train()
    for name, mask in masks.items():
        path, key = name.rsplit(".", 1)
        weight = work.get_parameter(name)
        prune.custom_from_mask(work.get_submodule(path), key, mask.reshape(weight.shape))
    optimizer = torch.optim.SGD(
        work.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4
    )

    def step() -> None:
        loss = functional.cross_entropy(work(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def row(rounds: int) -> Row:
    """Measures the three steps in turn. ours: with masks; peer: our step without masks."""
    torch.manual_seed(0)
    model = ARCHITECTURES["resnet20"].build(SHAPE, 10)
    data = images()
    config = TrainConfig(batch_size=BATCH)
    layers = inventory(model, SHAPE)
    flat = {x.name: model.get_parameter(x.name).detach().abs().reshape(1, -1) for x in layers}
    masks = {x.name: ~lowest(flat[x.name], round(SPARSITY * x.numel)).view(x.shape) for x in layers}
    x, y = next(iter(data.train.batches(BATCH)))
    assert isinstance(x, Tensor)

    def our_step(used: Masks) -> Callable[[], object]:
        run: _Run = _start(
            model, used, layers, {}, data, config, torch.device("cpu"), StatelessHook()
        )
        run.model.train()
        return lambda: run.update(x, y, 0, 1)

    channels_last = x.contiguous(memory_format=torch.channels_last)
    calls = {
        "masked": our_step(masks),
        "dense": our_step({}),
        "peer": peer_step(model, masks, channels_last, y),
    }
    seconds = interleaved(calls, rounds, warmup=2)
    dense_s = seconds["dense"].cpu
    more = {
        "slower_with_masks": seconds["masked"].cpu / dense_s - 1,
        "slower_with_torch_prune": seconds["peer"].cpu / dense_s - 1,
    }
    return Row(
        "masked fine-tune step, ResNet-20",
        seconds["masked"],
        seconds["dense"],
        "the same step without masks",
        0.95,
        more=more,
    )


def rows(rounds: int = 15) -> list[Row]:
    """The one row."""
    return [row(rounds)]


if __name__ == "__main__":
    command(rows, 15, __doc__)
