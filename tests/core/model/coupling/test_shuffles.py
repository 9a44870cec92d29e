"""Couplings of SINet, ShuffleNet and ResNets with option A, on small networks of these forms."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pruning_core.model.coupling.positions import IS_OUTPUT
from tests.core.evaluation.test_partial_forward import seeded
from tests.core.model.coupling.networks import shuffled
from tests.core.model.coupling.test_foreign import dead_reads_matter, known_of

IMAGE = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def normed(conv: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.PReLU(channels))


class Squeezed(nn.Module):
    """SINet's block: a grouped reduction, a shuffle, two kernel sizes, one of them pooled."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.reduce = nn.Conv2d(channels, half, 1, groups=2, bias=False)
        self.fine = nn.Conv2d(half, half, 3, padding=1, groups=half)
        self.wide = nn.Conv2d(half, half, 3, padding=1, groups=half)
        self.mix = nn.ModuleList(nn.Conv2d(half, half, 1) for _ in range(2))
        self.after = nn.Sequential(nn.BatchNorm2d(channels), nn.PReLU(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = shuffled(self.reduce(x))
        low = self.mix[1](self.wide(F.avg_pool2d(y, 2)))
        up = F.interpolate(low, x.shape[2:], mode="bilinear", align_corners=True)
        made: Tensor = self.after(x + torch.cat([self.mix[0](self.fine(y)), up], 1))
        return made


class Sinet(nn.Module):
    """A stem, two blocks, and a class per pixel, weighted by the confidence of a coarser head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = normed(nn.Conv2d(3, 8, 3, 2, 1, bias=False), 8)
        self.blocks = nn.Sequential(Squeezed(8), Squeezed(8))
        self.head = nn.Conv2d(16, 2, 1)
        self.coarse = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        coarse = self.coarse(y)
        gate = 1 - coarse.softmax(1).amax(1, keepdim=True)
        made = self.head(torch.cat([y, self.blocks(y)], 1)) * gate + coarse
        return F.interpolate(made, scale_factor=2, mode="bilinear", align_corners=True)


class OptionA(nn.Module):
    """Shortcuts that skip pixels and fill new channels with zeros, in three notations."""

    def __init__(self, fill: str) -> None:
        super().__init__()
        self.fill = fill
        self.stem = nn.Conv2d(3, 4, 3, 1, 1)
        self.same = nn.Conv2d(4, 4, 3, 1, 1)
        self.more = nn.Conv2d(4, 8, 3, 2, 1)
        self.less = nn.Conv2d(8, 6, 3, 1, 1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = (x + self.same(x)).relu()
        short = x[:, :, ::2, ::2]
        if self.fill == "pad":
            short = F.pad(short, (0, 0, 0, 0, 2, 2))
        elif self.fill == "zeros":
            short = torch.cat([short, torch.zeros_like(short)], 1)
        else:
            short = torch.cat([short, short.mul(0)], 1)
        x = (short + self.more(x)).relu()
        made: Tensor = self.head((x[:, 1:7] + self.less(x)).mean((2, 3)))
        return made


class ShuffleNet(nn.Module):
    """A unit of each version: grouped convolutions with shuffles, and halves that take turns."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.enter = nn.Conv2d(8, 8, 1, groups=2)
        self.space = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.leave = nn.Conv2d(8, 8, 1, groups=2)
        self.branch = nn.Sequential(nn.Conv2d(4, 6, 1), nn.ReLU(), nn.Conv2d(6, 4, 1))
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = (x + self.leave(self.space(shuffled(self.enter(x).relu())))).relu()
        for _ in range(2):
            kept, changed = x.chunk(2, 1)
            x = shuffled(torch.cat([kept, self.branch(changed)], 1))
        made: Tensor = self.head(x.mean((2, 3)))
        return made


def proved(model: nn.Module) -> tuple[dict[str, int], set[str]]:
    """Layers of each proved coupling -> its channels, and the reasons of the others."""
    known = known_of(model)
    assert not any(dead_reads_matter(known, IMAGE, seed) for seed in (1, 2))
    ties = {
        " ".join(name.removesuffix(".weight") for name in own.layers): own.channels
        for own in known[2]
        if own.reason is None
    }
    return ties, {own.reason for own in known[2] if own.reason}


def test_sinet() -> None:
    """The grouped reductions tie the two halves of the stream, and of what they give."""
    ties, reasons = proved(seeded(Sinet))
    assert ties == {
        "stem.0 blocks.0.mix.0 blocks.0.mix.1 blocks.1.mix.0 blocks.1.mix.1": 4,
        "blocks.0.reduce blocks.0.fine blocks.0.wide": 2,
        "blocks.1.reduce blocks.1.fine blocks.1.wide": 2,
    }
    assert reasons == {IS_OUTPUT}


def test_shortcuts_of_option_a() -> None:
    """Channels times zero keep the numbers of those that they are computed from."""
    for fill, channels in (("pad", 8), ("zeros", 8), ("times zero", 4)):
        ties, reasons = proved(seeded(partial(OptionA, fill)))
        assert (fill, ties) == (fill, {"stem same more less": channels})
        assert reasons == {IS_OUTPUT}


def test_shuffle_nets() -> None:
    """The branch is called twice, so it reads its own channels where it read those of the stem."""
    ties, reasons = proved(seeded(ShuffleNet))
    assert ties == {"stem leave branch.2": 4, "enter space": 2, "branch.0": 6}
    assert reasons == {IS_OUTPUT}
