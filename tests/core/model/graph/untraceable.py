"""Small models that torch.fx cannot trace, each with a difficulty of its own."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from tests.core.tiny_bert import LENGTH, WORDS

WIDTH = 8


def looked_at(x: Tensor) -> Tensor:
    """The tensor; torch.fx cannot trace what reads its values."""
    return x if x.sum() > -1e9 else -x


class Block(nn.Module):
    """A residual block of two Linears."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.up = nn.Linear(WIDTH, 2 * WIDTH)
        self.drop = nn.Dropout(0.5)
        self.down = nn.Linear(2 * WIDTH, WIDTH)
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        y = self.drop(self.down(functional.silu(self.up(self.norm(x)))))
        if self.inplace:
            y += x
            return y.mul_(0.5)
        return x + y


class Blocks(nn.Module):
    """A stem, three blocks in a ModuleList and a head, without a trace."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.stem = nn.Linear(WIDTH, WIDTH)
        self.blocks = nn.ModuleList(Block(inplace) for _ in range(3))
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Any:
        x = self.stem(looked_at(x))
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class Flat(Blocks):
    """The sum of all blocks' inputs is made outside of them."""

    def forward(self, x: Tensor) -> Any:
        x = self.stem(looked_at(x))
        total = torch.zeros_like(x)
        for block in self.blocks:
            x = x + block(x)
            total[:, ::2] += x[:, ::2]
        return {"aux": x, "logits": self.head(total)}


class Early(Blocks):
    """Reads the last weights first, without calling their module, and one block twice."""

    def forward(self, x: Tensor) -> Any:
        size = functional.linear(x, self.get_parameter("blocks.2.up.weight")).mean()
        x = self.blocks[0](self.stem(looked_at(x)) * size)
        return (self.head(self.blocks[2](self.blocks[1](self.blocks[0](x)))), x)


class Views(Blocks):
    """Gives views and parameters from modules, and writes over the views."""

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Identity()
        self.scale = Scale()

    def forward(self, x: Tensor) -> Any:
        stem = self.stem(looked_at(x))
        x = self.same(stem)
        x += self.scale()
        x = self.blocks[0](x)
        return self.head(self.blocks[1](x) + stem)


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, WIDTH))

    def forward(self) -> Tensor:
        return self.weight


class Experts(Blocks):
    """The values decide which of the blocks are called; most batches do not call all of them."""

    def forward(self, x: Tensor) -> Any:
        x = self.stem(x)
        chosen = (x[:, 0] > 0.4).long() + (x[:, 1] > 0.4).long()
        mixed = torch.zeros_like(x)
        for number, block in enumerate(self.blocks):
            if (rows := (chosen == number).nonzero()[:, 0]).numel():
                mixed[rows] = block(x[rows])
        return self.head(mixed)


class Grouped(nn.Module):
    """Experts in a module of their own, between two Linears."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(WIDTH, WIDTH)
        self.experts = Experts()
        self.last = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Any:
        return self.last(self.experts(self.first(x)))


@dataclass
class Cache:
    """Collects what the layers give, and is read for its length before they run."""

    seen: list[Tensor]


class Decoder(nn.Module):
    """A Llama-like decoder with a tied table, a cache that the layers fill, and rotated halves."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.layers = nn.ModuleList(DecoderLayer() for _ in range(2))
        self.norm = nn.RMSNorm(WIDTH)
        self.out = nn.Linear(WIDTH, WORDS, bias=False)
        self.out.weight = self.words.weight
        self.register_buffer("angles", torch.randn(LENGTH, WIDTH // 2), persistent=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        cache = Cache([])
        x = self.words(input_ids)
        mask = None if attention_mask.all() else attention_mask[:, None, None].bool()
        turn = (self.get_buffer("angles").cos(), self.get_buffer("angles").sin())
        for layer in self.layers:
            (x,) = layer(x, mask=mask, turn=turn, cache=cache)
        last = self.out(self.norm(x))[:, -1]
        return Output(last, cache)


@dataclass
class Output:
    logits: Tensor
    cache: Cache


class DecoderLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(2))
        self.key = nn.Linear(WIDTH, WIDTH)
        self.block = Block()

    def forward(
        self, x: Tensor, *, mask: Tensor | None, turn: tuple[Tensor, Tensor], cache: Cache
    ) -> tuple[Tensor]:
        query, key = (self._turned(each(x), turn) for each in (self.query, self.key))
        cache.seen.append(key)
        mixed = functional.scaled_dot_product_attention(
            query[:, None], key[:, None], self.value(x)[:, None], attn_mask=mask
        )
        return (self.block(x + mixed[:, 0]),)

    @staticmethod
    def _turned(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        one, two = x.chunk(2, -1)
        return torch.cat([one * turn[0] - two * turn[1], one * turn[1] + two * turn[0]], -1)


class Padded(Blocks):
    """An encoder with a padding mask, whose layers give each other nested tensors."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(WIDTH, 2, WIDTH, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, x: Tensor) -> Any:
        tokens = self.stem(x)[:, None].repeat(1, 3, 1)
        mask = torch.zeros(tokens.shape[:2], dtype=torch.bool)
        mask[:, 2] = x[:, 0] > 0
        return self.head(self.blocks[0](self.encoder(tokens, src_key_padding_mask=mask)[:, 0]))


class Weighted(Blocks):
    """Weights that are computed by parametrizations, and an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = parametrizations.weight_norm(nn.Linear(WIDTH, WIDTH))
        self.recurrent = nn.LSTM(WIDTH, WIDTH, batch_first=True)

    def forward(self, x: Tensor) -> Any:
        steps = self.recurrent(self.stem(looked_at(x))[:, None].repeat(1, 2, 1))[0]
        return self.head(self.blocks[0](steps[:, 1]))
