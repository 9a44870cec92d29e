"""Small networks with the kinds of weights that people's own networks have."""

from collections.abc import Callable
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional

SHAPE = (1, 8, 8)
"""Every network here takes images of this shape and gives 10 logits."""


class Shapes(nn.Module):
    """Transposed convolutions (one of them grouped), a 3-d convolution and a bilinear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(1, 4, 2, stride=2)
        self.split = nn.ConvTranspose2d(4, 6, 3, groups=2, padding=1)
        self.line = nn.ConvTranspose1d(6, 5, 3)
        self.solid = nn.Conv3d(1, 4, (2, 3, 3), stride=2)
        self.pair = nn.Bilinear(8, 6, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.split(self.up(x).relu()).relu()
        first = self.line(x.mean(-1)).mean(1)[:, :8]
        second = self.solid(x[:, None]).relu()[:, :2, 0].mean(-1)[..., :3].flatten(1)
        return self.pair(first, second)


class Rows(nn.Module):
    """The rows of an image through recurrent layers of all kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 4, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(8, 4, batch_first=True)
        self.cell = nn.RNNCell(4, 4)
        self.head = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.gru(self.lstm(x[:, 0])[0])[0]
        return self.head(self.cell(x[:, -1], x[:, 0]))


class Conv1D(nn.Module):
    """GPT-2's linear layer, which stores inputs x outputs."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf = nf
        self.weight = nn.Parameter(torch.randn(nx, nf) / nx**0.5)
        self.bias = nn.Parameter(torch.zeros(nf))

    def forward(self, x: Tensor) -> Tensor:
        out = torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight)
        return out.view(*x.shape[:-1], self.nf)


class Grouped(nn.Module):
    """Attention with four query heads and two key and value heads, after GPT-2's packed one."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads = 4
        self.q, self.k, self.v = (nn.Linear(8, size, bias=False) for size in (8, 4, 4))
        self.o = nn.Linear(8, 8, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (-1, 2)).transpose(1, 2) for layer in (self.q, self.k, self.v)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)
        return self.o(mixed.transpose(1, 2).flatten(2))


class Packed(nn.Module):
    """GPT-2's attention."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads = 2
        self.c_attn = Conv1D(24, 8)
        self.c_proj = Conv1D(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.c_attn(x).chunk(3, -1)
        q, k, v = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in parts)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return self.c_proj(mixed.transpose(1, 2).flatten(2))


class Tokens(nn.Module):
    """Rows of an image as tokens: grouped queries, packed attention, experts, bare matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped = Grouped()
        self.packed = Packed()
        self.router = nn.Linear(8, 2)
        self.experts = nn.Parameter(torch.randn(2, 12, 8) / 3)
        self.down = nn.Parameter(torch.randn(2, 8, 12) / 3)
        self.mix = nn.Parameter(torch.randn(8, 2, 4) / 3)
        self.out = nn.Parameter(torch.randn(8, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, 0]
        x = x + self.grouped(x)
        x = x + self.packed(x)
        share = self.router(x).softmax(-1)
        parts = [
            functional.linear(functional.linear(x, up).relu(), down)
            for up, down in zip(self.experts, self.down, strict=True)
        ]
        x = x + (torch.stack(parts, -1) * share[:, :, None]).sum(-1)
        x = x + torch.einsum("bte,ehd->bthd", x, self.mix).flatten(2)
        return x.mean(1) @ self.out


class Functional(nn.Module):
    """Weights that are read without a call of their module, and a standardised convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.standard = Standardised(6, 4, 3)
        self.hidden = nn.Linear(4, 8)
        self.cosine = nn.Linear(8, 10, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.conv2d(x, self.conv.weight, self.conv.bias)
        x = self.standard(self.norm(x).relu()).relu().mean((2, 3))
        x = functional.linear(x, self.hidden.weight, self.hidden.bias)
        return functional.linear(functional.normalize(x), functional.normalize(self.cosine.weight))


class Standardised(nn.Conv2d):
    """A convolution that reads its weight with mean 0 and variance 1 in each filter."""

    def forward(self, x: Tensor) -> Tensor:
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        deviation = self.weight.std((1, 2, 3), keepdim=True)
        return functional.conv2d(x, (self.weight - mean) / (deviation + 1e-5), self.bias)


FOREIGN: MappingProxyType[str, Callable[[], nn.Module]] = MappingProxyType(
    {"shapes": Shapes, "rows": Rows, "tokens": Tokens, "functional": Functional}
)
"""Together these have every kind of weight that the zoo does not have."""
