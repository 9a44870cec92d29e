"""Small networks of the kinds that others write: what is read where is known by hand."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS = (3, 8, 8)


class Head(nn.Module):
    """Ends a network: b reads what `middle` makes of a's 8 channels, then a mean and a Linear."""

    def __init__(self, middle: Callable[[Any, Tensor], Tensor], reads: int = 8) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3)
        self.b = nn.Conv2d(reads, 6, 1)
        self.f = nn.Linear(6, 4)
        self.middle = middle

    def forward(self, x: Tensor) -> Tensor:
        return self.f(self.b(self.middle(self, x)).relu().mean((2, 3)))


def head(middle: Callable[[Any, Tensor], Tensor], reads: int = 8, **parts: nn.Module) -> Head:
    """A `Head` with these modules beside a and b."""
    made = Head(middle, reads)
    for name, part in parts.items():
        made.add_module(name, part)
    return made


class Parameter(nn.Module):
    """Holds one bare parameter, w."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.rand(shape) + 0.5)


def shifted(norm: nn.Module) -> nn.Module:
    """The norm with a shift, as after a training."""
    with torch.no_grad():
        norm.get_parameter("bias").uniform_()
    return norm


class Standardised(nn.Conv2d):
    """A convolution whose weight is standardised over each filter's inputs."""

    def forward(self, x: Tensor) -> Tensor:
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        spread = self.weight.std((1, 2, 3), keepdim=True) + 1e-5
        return F.conv2d(x, (self.weight - mean) / spread, self.bias, groups=self.groups)


class Keeping(nn.Conv2d):
    """Keeps its last output, with its gradient."""

    def forward(self, x: Tensor) -> Tensor:
        self.last = super().forward(x)
        return self.last


class ByWeight(nn.Module):
    """Reads its Linear's weight without calling the Linear."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.movedim(1, -1), self.inner.weight, self.inner.bias).movedim(-1, 1)


class Conv1D(nn.Module):
    """A Linear over channels whose weight is stored inputs x outputs, as GPT-2's."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.nf = outputs
        self.weight = nn.Parameter(torch.rand(inputs, outputs) - 0.5)
        self.bias = nn.Parameter(torch.rand(outputs))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).mT
        rows = torch.addmm(self.bias, tokens.flatten(0, 1), self.weight)
        return rows.view(*tokens.shape[:2], -1).mT.unflatten(2, x.shape[2:])


def of_copies(net: Any, x: Tensor) -> Tensor:
    """Reads copies of a depthwise convolution's weight and bias, as autocast does."""
    groups = len(net.c.weight)
    return F.conv2d(net.a(x), net.c.weight.clone(), net.c.bias.clone(), groups=groups)


def of_one_length(net: Any, x: Tensor) -> Tensor:
    """Reads a depthwise convolution's weight divided by the length of all its filters."""
    return F.conv2d(net.a(x), net.c.weight / net.c.weight.norm(), net.c.bias, groups=8)


def centred(net: Any, x: Tensor) -> Tensor:
    """Reads the weight of a transposed convolution of groups minus its mean."""
    weight = net.c.weight - net.c.weight.mean((1, 2, 3), keepdim=True)
    return F.conv_transpose2d(net.a(x), weight, net.c.bias, groups=2)


def shuffled(x: Tensor) -> Tensor:
    """Channel shuffle of two groups."""
    n, c, h, w = x.shape
    return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def res2(net: Any, x: Tensor) -> Tensor:
    """Res2Net: four splits, each convolution reads its split and the one before."""
    one, two, three, four = net.a(x).chunk(4, 1)
    two = net.c(two)
    three = net.d(three + two)
    return torch.cat([one, two, three, four], 1)


def rms(net: Any, x: Tensor) -> Tensor:
    """Root mean square norm over channels, written by hand."""
    y = net.a(x)
    return y * torch.rsqrt(y.pow(2).mean(1, keepdim=True) + 1e-5) * net.p.w


def excited(net: Any, x: Tensor) -> Tensor:
    """Squeeze and excitation."""
    y = net.a(x)
    return y * net.up(net.down(y.mean((2, 3), keepdim=True)).relu()).sigmoid()


def far_below_zero() -> nn.Conv2d:
    """A convolution of one channel that is below zero everywhere, for images in [0, 1]."""
    made = nn.Conv2d(3, 1, 3)
    nn.init.constant_(made.get_parameter("bias"), -3)
    return made


Expected = tuple[Sequence[str], str]
"""The layers that are tied to a, and a part of the reason; no reason where it is empty."""
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Expected]] = {
    "gate of one channel": (
        lambda: head(lambda n, x: n.a(x) * n.m(x).sigmoid(), m=nn.Conv2d(3, 1, 3)),
        ("a", ""),
    ),
    "sum with one channel": (
        lambda: head(lambda n, x: n.a(x) + n.m(x), m=nn.Conv2d(3, 1, 3)),
        ("a", "still have a value"),
    ),
    "one channel, expanded": (
        lambda: head(lambda n, x: n.a(x) * n.m(x).expand(-1, 8, -1, -1), m=nn.Conv2d(3, 1, 3)),
        ("a", ""),
    ),
    "pixel shuffle": (lambda: head(lambda n, x: F.pixel_shuffle(n.a(x), 2), 2), ("a", "")),
    "space to depth": (lambda: head(lambda n, x: F.pixel_unshuffle(n.a(x), 2), 32), ("a", "")),
    "mean after pixel shuffle": (
        lambda: head(
            lambda n, x: F.pixel_shuffle(n.a(x), 2).mean((2, 3), keepdim=True).expand(-1, -1, 3, 3),
            2,
        ),
        ("a", ""),
    ),
    "sum that hides in this example": (
        lambda: head(lambda n, x: (n.a(x) + n.m(x)).relu(), m=far_below_zero()),
        ("a", "still have a value"),
    ),
    "channel shuffle": (lambda: head(lambda n, x: shuffled(n.a(x))), ("a", "")),
    "roll": (lambda: head(lambda n, x: n.a(x).roll(3, 1)), ("a", "")),
    "depthwise multiplier": (
        lambda: head(lambda n, x: n.d(n.a(x)), 16, d=nn.Conv2d(8, 16, 3, groups=8)),
        ("a d", ""),
    ),
    "concatenation": (
        lambda: head(lambda n, x: torch.cat([n.a(x), n.c(x)], 1), 12, c=nn.Conv2d(3, 4, 3)),
        ("a", ""),
    ),
    "addition": (
        lambda: head(lambda n, x: n.a(x) + n.c(x).flip(1), c=nn.Conv2d(3, 8, 3)),
        ("a c", ""),
    ),
    "res2net": (lambda: head(res2, c=nn.Conv2d(2, 2, 1), d=nn.Conv2d(2, 2, 1)), ("a c", "")),
    "squeeze and excitation": (
        lambda: head(excited, down=nn.Conv2d(8, 3, 1), up=nn.Conv2d(3, 8, 1)),
        ("a up", ""),
    ),
    "parameter H x W": (lambda: head(lambda n, x: n.a(x) * n.p.w, p=Parameter(6, 6)), ("a", "")),
    "parameter of a row": (lambda: head(lambda n, x: n.a(x) * n.p.w, p=Parameter(6)), ("a", "")),
    "parameter per channel": (
        lambda: head(lambda n, x: n.a(x) + n.p.w, p=Parameter(8, 1, 1)),
        ("a", ""),
    ),
    "parameter C x H x W": (
        lambda: head(lambda n, x: n.a(x) + n.p.w, p=Parameter(8, 6, 6)),
        ("a", ""),
    ),
    "added parameter H x W": (
        lambda: head(lambda n, x: n.a(x) + n.p.w, p=Parameter(6, 6)),
        ("a", "still have a value"),
    ),
    "PReLU of one value": (lambda: head(lambda n, x: n.p(n.a(x)), p=nn.PReLU()), ("a", "")),
    "PReLU": (lambda: head(lambda n, x: n.p(n.a(x)), p=nn.PReLU(8)), ("a", "")),
    "GLU": (lambda: head(lambda n, x: F.glu(n.a(x), 1), 4), ("a", "")),
    "batch norm": (lambda: head(lambda n, x: n.n(n.a(x)), n=nn.SyncBatchNorm(8)), ("a", "")),
    "batch norm, no scale": (
        lambda: head(lambda n, x: n.n(n.a(x)) + 1, n=nn.BatchNorm2d(8, affine=False)),
        ("a", "still have a value"),
    ),
    "instance norm": (
        lambda: head(lambda n, x: n.n(n.a(x)), n=shifted(nn.InstanceNorm2d(8, affine=True))),
        ("a", ""),
    ),
    "parameter that is moved": (
        lambda: head(lambda n, x: n.a(x) + n.p.w.flip(0)[:, None, None], p=Parameter(8)),
        ("a", ""),
    ),
    "group norm": (lambda: head(lambda n, x: n.n(n.a(x)), n=nn.GroupNorm(2, 8)), ("a", "")),
    "RMS norm": (lambda: head(rms, p=Parameter(8, 1, 1)), ("a", "")),
    "sigmoid": (lambda: head(lambda n, x: n.a(x).sigmoid()), ("a", "still have a value")),
    "softmax over channels": (lambda: head(lambda n, x: n.a(x).softmax(1)), ("a", "combines")),
    "mean over channels": (
        lambda: head(lambda n, x: n.a(x).mean(1, keepdim=True), 1),
        ("a", "reads a mean"),
    ),
    "read along another axis": (
        lambda: head(lambda n, x: n.t(n.a(x).flatten(2)).view(-1, 8, 6, 6), t=nn.Linear(36, 36)),
        ("a", "along another axis"),
    ),
    "padded shortcut": (
        lambda: head(
            lambda n, x: n.c(x) + F.pad(n.a(x), (0, 0, 0, 0, 2, 2)), 12, c=nn.Conv2d(3, 12, 3)
        ),
        ("a c", ""),
    ),
    "weight without its module": (lambda: head(lambda n, x: n.w(n.a(x)), w=ByWeight()), ("a", "")),
    "standardised weight": (
        lambda: head(lambda n, x: n.s(n.a(x)), s=Standardised(8, 8, 1)),
        ("a", "computes its weight"),
    ),
    "standardised weight of groups": (
        lambda: head(lambda n, x: n.s(n.a(x)), s=Standardised(8, 8, 1, groups=2)),
        ("a", "computes its weight"),
    ),
    "centred transposed weight of groups": (
        lambda: head(centred, c=nn.ConvTranspose2d(8, 8, 1, groups=2)),
        ("a", "computes its weight"),
    ),
    "weight over the length of all filters": (
        lambda: head(of_one_length, c=nn.Conv2d(8, 8, 1, groups=8)),
        ("a c", "change channels that stay"),
    ),
    "copies of weight and bias": (
        lambda: head(of_copies, c=nn.Conv2d(8, 8, 1, groups=8)),
        ("a c", ""),
    ),
    "bias that is changed": (
        lambda: head(
            lambda n, x: F.conv2d(n.a(x), n.c.weight, n.c.bias.clone().add_(1), groups=8),
            c=nn.Conv2d(8, 8, 1, groups=8),
        ),
        ("a c", "not its bias"),
    ),
    "part of a weight": (
        lambda: head(lambda n, x: F.conv2d(n.a(x), n.c.weight[:5]), 5, c=nn.Conv2d(8, 8, 1)),
        ("a", "not the plain weight"),
    ),
    "inputs and outputs exchanged": (
        lambda: head(
            lambda n, x: F.linear(n.c(n.a(x).movedim(1, 3)), n.c.weight.t()).movedim(3, 1),
            c=nn.Linear(8, 8),
        ),
        ("a", "inputs and outputs exchanged"),
    ),
    "kept activation": (lambda: head(lambda n, x: n.k(n.a(x)), k=Keeping(8, 8, 1)), ("a", "")),
    "inputs x outputs": (
        lambda: head(lambda n, x: n.p(n.a(x)) + n.a(x), p=Conv1D(8, 8)),
        ("a p", ""),
    ),
    "transposed convolution": (
        lambda: head(lambda n, x: n.t(x) + n.a(x), t=nn.ConvTranspose2d(3, 8, 1, padding=1)),
        ("a t", ""),
    ),
    "reads by a transposed convolution": (
        lambda: head(lambda n, x: n.t(n.a(x)), 5, t=nn.ConvTranspose2d(8, 5, 2, stride=2)),
        ("a", ""),
    ),
    "transposed convolution of groups": (
        lambda: head(lambda n, x: n.t(n.a(x)), t=nn.ConvTranspose2d(8, 8, 1, groups=2)),
        ("a", ""),
    ),
    "values put back to the places of maxima": (
        lambda: head(
            lambda n, x: F.max_unpool2d(
                n.c(F.max_pool2d(n.a(x), 2)),
                F.max_pool2d(n.a(x), 2, return_indices=True)[1],
                (2, 2),
            ),
            c=nn.Conv2d(8, 8, 1),
        ),
        ("a c", ""),
    ),
    "blur of each channel": (
        lambda: head(lambda n, x: F.conv2d(n.a(x), torch.ones(8, 1, 2, 2) / 4, groups=8)),
        ("a", ""),
    ),
    "fixed kernel over channels": (
        lambda: head(lambda n, x: F.conv2d(n.a(x), torch.ones(8, 8, 1, 1) / 8)),
        ("a", "not the plain weight"),
    ),
    "fixed matrix over positions": (
        lambda: head(lambda n, x: (n.a(x).flatten(2) @ torch.ones(36, 9)).unflatten(2, (3, 3))),
        ("a", ""),
    ),
    "fixed matrix over channels": (
        lambda: head(lambda n, x: (n.a(x).movedim(1, 3) @ torch.ones(8, 8)).movedim(3, 1)),
        ("a", "not the plain weight"),
    ),
    "quantised values": (
        lambda: head(lambda n, x: torch.fake_quantize_per_tensor_affine(n.a(x), 0.1, 0, -9, 9)),
        ("a", ""),
    ),
    "called twice": (
        lambda: head(lambda n, x: n.c(n.c(n.a(x))), c=nn.Conv2d(8, 8, 1)),
        ("a c", ""),
    ),
    "called on the image too": (
        lambda: head(lambda n, x: n.c(n.a(x)[:, :3]) + n.c(x)[..., 1:7, 1:7], c=nn.Conv2d(3, 8, 1)),
        ("a", "also read other values"),
    ),
    "PReLU of two layers": (
        lambda: head(lambda n, x: n.p(n.c(n.p(n.a(x)))), p=nn.PReLU(8), c=nn.Conv2d(8, 8, 1)),
        ("a c", ""),
    ),
    "maxima over channels": (
        lambda: head(lambda n, x: n.a(x).topk(2, 1)[0], 2),
        ("a", "combines"),
    ),
    "place of the maximum over channels": (
        lambda: head(lambda n, x: n.a(x) * (n.a(x).argmax(1, keepdim=True) > 2)),
        ("a", "combines"),
    ),
    "maxima over pixels": (
        lambda: head(lambda n, x: n.a(x).flatten(2).topk(4, 2)[0].unflatten(2, (2, 2))),
        ("a", ""),
    ),
    "LSTM": (
        lambda: head(
            lambda n, x: n.r(n.a(x).flatten(2).mT)[0].mT.unflatten(2, (6, 6)),
            r=nn.LSTM(8, 8, batch_first=True),
        ),
        ("a", ""),
    ),
    "Conv3d": (
        lambda: head(lambda n, x: n.t(n.a(x)[:, :, None])[:, :, 0], 5, t=nn.Conv3d(8, 5, 1)),
        ("a", ""),
    ),
    "recurrent": (
        lambda: head(
            lambda n, x: n.r(n.a(x).flatten(2).mT)[0].mT.unflatten(2, (6, 6)),
            r=nn.GRU(8, 8, batch_first=True),
        ),
        ("a", ""),
    ),
}
"""Networks that read 3 x 8 x 8 images."""
