"""Small tables, layers, networks and splits, with answers that can be worked out by hand."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from einops import rearrange
from torch import Tensor, nn

from pruning_core.tasks import ClassAnswers
from pruning_core.types import Evaluation, Inputs, Layer, PruningError, Split
from pruning_core.zoo.splits import TensorSplit


def table(text: str) -> Tensor:
    """Rows of numbers. Bars only help to read them."""
    return torch.tensor(
        [
            [float(cell) for cell in row.replace("|", " ").split()]
            for row in text.strip().splitlines()
        ]
    )


def matrix(text: str) -> Tensor:
    """A table as the OIHW view of a Linear: rows are outputs, columns are inputs."""
    return table(text)[:, :, None, None]


def kernels(text: str, side: int = 2) -> Tensor:
    """A table as side x side kernels: filters one below the other, channels side by side."""
    return rearrange(table(text), "(o h) (i w) -> o i h w", h=side, w=side)


def layer(shape: Sequence[int], kind: str | None = None, name: str = "w", **more: Any) -> Layer:
    """A layer of that OIHW shape, without a network around it."""
    o, i, h, w = shape
    found = kind or ("linear" if (h, w) == (1, 1) else "conv2d")
    stored = (o, i) if found == "linear" or found.startswith("attention") else (o, i, h, w)
    return Layer(name, name.rpartition(".")[0], found, (o, i, h, w), stored, **more)


LAYERS = (
    layer((8, 3, 3, 3), name="stem.weight", is_first=True),
    layer((16, 8, 3, 3), name="conv.weight"),
    layer((32, 16, 1, 1), "conv2d", name="point.weight"),
    layer((10, 32, 1, 1), name="fc.weight", is_output=True),
)
"""Four layers of growing depth, without a network around them."""


class Toy(nn.Sequential):
    """Convolution 1 -> 2 of 2 x 2, batch norm, linear 2 -> 3; all weights are 0, 1, 2, ...

    An image of ones gives 22, 78, 134.
    """

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 2, 2, bias=False),
            nn.BatchNorm2d(2, eps=1e-30),
            nn.Flatten(),
            nn.Linear(2, 3, bias=False),
        )
        for index in (0, 3):
            weight = self.get_parameter(f"{index}.weight")
            weight.data = torch.arange(weight.numel(), dtype=torch.float32).view_as(weight)
        self.eval()


class Looking(nn.Sequential):
    """torch.fx cannot trace it, because it branches on the values of its input.

    No part of it can run alone, because it writes over its buffer.
    """

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__(*modules)
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x if x.sum() > -1e9 else -x
        self.get_buffer("seen").add_(0)
        for module in self:
            x = module(x)
        return x


@dataclass(frozen=True, eq=False)
class MemorySplit:
    """Images in memory, already as the model reads them."""

    x: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(self.x.split(size), self.labels.split(size), strict=True)

    def shuffled(
        self, size: int, seed: int, augment: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        yield from zip(self.x[order].split(size), self.labels[order].split(size), strict=True)

    def subset(self, indices: Sequence[int]) -> "MemorySplit":
        chosen = torch.as_tensor(list(indices), dtype=torch.long)
        return MemorySplit(self.x[chosen], self.labels[chosen])

    def images(self, indices: Sequence[int]) -> Tensor:
        return self.x[list(indices)]


def answers(measured: Evaluation) -> ClassAnswers:
    """The answers of a measured classifier."""
    assert measured.classes is not None
    return measured.classes


def state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of everything the model holds."""
    return {name: value.clone() for name, value in model.state_dict().items()}


def in_memory(split: Split) -> TensorSplit:
    """A split whose images are one tensor."""
    assert isinstance(split, TensorSplit)
    return split


def pictures(batch: tuple[Inputs, Tensor]) -> Tensor:
    """The inputs of a batch of images, which are one tensor."""
    inputs, _ = batch
    assert isinstance(inputs, Tensor)
    return inputs


def gradient(model: nn.Module, name: str) -> Tensor:
    """The gradient of that parameter, which must have one."""
    found = model.get_parameter(name).grad
    assert found is not None
    return found


def same_state(model: nn.Module, before: dict[str, Tensor]) -> bool:
    """Bitwise the same parameters and buffers."""
    now = model.state_dict()
    return now.keys() == before.keys() and all(
        torch.equal(now[name], value) for name, value in before.items()
    )


def is_sentence(text: str) -> bool:
    """One line that starts and ends as a sentence does."""
    return "\n" not in text and text.rstrip("'\"")[-1:] in {".", "?"} and len(text.split()) >= 4


def refusal(call: Callable[[], object]) -> str:
    """The sentence of the PruningError that the call raises."""
    with pytest.raises(PruningError) as caught:
        call()
    text = str(caught.value)
    assert is_sentence(text), text
    return text
