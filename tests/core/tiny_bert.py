"""A BERT-style encoder of two layers, and sentences whose first token decides their class."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pruning_core.types import Dataset

DIM = 16
HEADS = 4
WORDS = 12
LENGTH = 6


@dataclass
class Config:
    num_attention_heads: int = HEADS


@dataclass
class Output:
    """A model's output that is not a tensor."""

    logits: Tensor


class SelfAttention(nn.Module):
    def __init__(self, config: Config, dim: int, heads: int) -> None:
        super().__init__()
        self.config = config
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(DIM, dim) for _ in range(3))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        q, k, v = (
            projection(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in (self.query, self.key, self.value)
        )
        weights = (q @ k.transpose(-1, -2) / (DIM // HEADS) ** 0.5 + bias).softmax(-1)
        return (weights @ v).transpose(1, 2).flatten(2)


class Layer(nn.Module):
    """Post-norm: attention, its output dense, then the two denses of the feed-forward part."""

    def __init__(self, config: Config, heads: int) -> None:
        super().__init__()
        dim = DIM // HEADS * heads
        self.attention = SelfAttention(config, dim, heads)
        self.dense = nn.Linear(dim, DIM)
        self.norm1 = nn.LayerNorm(DIM)
        self.norm2 = nn.LayerNorm(DIM)
        self.intermediate = nn.Linear(DIM, 2 * DIM)
        self.output = nn.Linear(2 * DIM, DIM)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = self.norm1(x + self.dense(self.attention(x, bias)))
        return self.norm2(x + self.output(functional.gelu(self.intermediate(x))))


class TinyBert(nn.Module):
    """heads: of every layer; a smaller number is a network whose other heads are removed."""

    def __init__(self, heads: int = HEADS) -> None:
        super().__init__()
        self.config = Config()
        self.words = nn.Embedding(WORDS, DIM)
        self.positions = nn.Embedding(LENGTH, DIM)
        self.layers = nn.ModuleList(Layer(self.config, heads) for _ in range(2))
        self.pooler = nn.Linear(DIM, DIM)
        self.classifier = nn.Linear(DIM, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Output:
        x = self.words(input_ids) + self.positions.weight
        bias = (1 - attention_mask[:, None, None].to(x.dtype)) * -1e4
        for layer in self.layers:
            x = layer(x, bias)
        return Output(self.classifier(self.pooler(x[:, 0]).tanh()))


def tiny_bert(heads: int = HEADS) -> nn.Module:
    """The encoder with weights drawn from seed 0, large enough that attention is not uniform."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = TinyBert(heads).eval()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.5 if parameter.ndim > 1 else 0.3)
    return model


def sentences(n: int = 24, seed: int = 0) -> dict[str, Tensor]:
    """Token numbers from 3 on and masks; the first token is 0, 1 or 2 in turn: the class."""
    rng = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, WORDS, (n, LENGTH), generator=rng)
    ids[:, 0] = torch.arange(n) % 3
    return {
        "input_ids": ids,
        "attention_mask": (
            torch.arange(LENGTH) < torch.randint(3, LENGTH + 1, (n, 1), generator=rng)
        ).long(),
    }


@dataclass(frozen=True, eq=False)
class Tokens:
    """Sentences as a split."""

    x: dict[str, Tensor]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        for start in range(0, len(self), size):
            yield (
                {name: t[start : start + size] for name, t in self.x.items()},
                self.labels[start : start + size],
            )

    def shuffled(
        self, size: int, seed: int, augment: bool = False
    ) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        yield from self.subset(order.tolist()).batches(size)

    def subset(self, indices: Sequence[int]) -> "Tokens":
        chosen = torch.as_tensor(list(indices), dtype=torch.long)
        return Tokens({name: t[chosen] for name, t in self.x.items()}, self.labels[chosen])

    def images(self, indices: Sequence[int]) -> Tensor:
        raise NotImplementedError("sentences have no pictures")


def dataset() -> Dataset:
    split = Tokens(sentences(), torch.arange(24) % 3)
    return Dataset("sentences", ("a", "b", "c"), (1, 1, LENGTH), split, split, split)
