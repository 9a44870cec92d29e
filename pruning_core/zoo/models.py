"""Small classifiers for small images, from 8 x 8 pixels. torch.fx can trace all of them."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from pruning_core.registry import find
from pruning_core.zoo.vit import STRIDED_FROM, Traced, vit

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Architecture:
    """A network that the zoo can build.

    build: (image shape C x H x W, number of classes) -> newly initialised network.
    """

    name: str
    label: str
    help: str
    source: str
    build: Callable[[Shape, int], nn.Module]


def named(**modules: nn.Module) -> nn.Sequential:
    """A Sequential with named parts: its parameters are conv1.weight, not 0.weight."""
    return nn.Sequential(OrderedDict(modules))


def conv_bn(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution without bias, batch norm, ReLU. At stride 1 the image size stays the same."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return named(conv=conv, bn=nn.BatchNorm2d(outputs), relu=nn.ReLU())


def stem_stride(shape: Shape) -> int:
    """2 for images of at least 28 x 28 pixels, else 1."""
    return 2 if min(shape[1:]) >= STRIDED_FROM else 1


def lenet_300_100(shape: Shape, classes: int) -> nn.Module:
    """Two hidden layers of 300 and 100 units (LeCun et al. 1998)."""
    c, h, w = shape
    return named(
        flatten=nn.Flatten(),
        fc1=nn.Linear(c * h * w, 300),
        relu1=nn.ReLU(),
        fc2=nn.Linear(300, 100),
        relu2=nn.ReLU(),
        fc3=nn.Linear(100, classes),
    )


def lenet5(shape: Shape, classes: int) -> nn.Module:
    """Two 5 x 5 convolutions, three linear layers (LeCun et al. 1998); ReLU and max pooling."""
    c, h, w = shape
    large = min(h, w) >= STRIDED_FROM
    first = 0 if large and h >= 32 else 2
    second = 0 if large else 2
    grid = [((side + 2 * first - 4) // 2 + 2 * second - 4) // 2 for side in (h, w)]
    return named(
        conv1=nn.Conv2d(c, 6, 5, padding=first),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(6, 16, 5, padding=second),
        relu2=nn.ReLU(),
        pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        fc1=nn.Linear(16 * grid[0] * grid[1], 120),
        relu3=nn.ReLU(),
        fc2=nn.Linear(120, 84),
        relu4=nn.ReLU(),
        fc3=nn.Linear(84, classes),
    )


def vgg(shape: Shape, classes: int) -> nn.Module:
    """Five 3 x 3 convolutions with batch norm: 32, 64, 64, 128, 128 filters. Three poolings."""
    return named(
        block1=conv_bn(shape[0], 32),
        pool1=nn.MaxPool2d(2),
        block2=conv_bn(32, 64),
        block3=conv_bn(64, 64),
        pool2=nn.MaxPool2d(2),
        block4=conv_bn(64, 128),
        block5=conv_bn(128, 128),
        pool3=nn.MaxPool2d(2),
        average=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        fc=nn.Linear(128, classes),
    )


class BasicBlock(nn.Module):
    """relu(shortcut(x) + bn(conv(relu(bn(conv(x))))))."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        same = stride == 1 and inputs == outputs
        self.shortcut: nn.Module = (
            nn.Identity()
            if same
            else named(
                conv=nn.Conv2d(inputs, outputs, 1, stride, bias=False), bn=nn.BatchNorm2d(outputs)
            )
        )

    def forward(self, x: Traced) -> Traced:
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


def resnet20(shape: Shape, classes: int) -> nn.Module:
    """A first convolution and three stages of three basic blocks with 16, 32 and 64 channels."""
    stages = [
        nn.Sequential(BasicBlock(i, o, stride), BasicBlock(o, o, 1), BasicBlock(o, o, 1))
        for i, o, stride in ((16, 16, 1), (16, 32, 2), (32, 64, 2))
    ]
    return named(
        stem=conv_bn(shape[0], 16, stride=stem_stride(shape)),
        layer1=stages[0],
        layer2=stages[1],
        layer3=stages[2],
        average=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        fc=nn.Linear(64, classes),
    )


def mobilenet(shape: Shape, classes: int) -> nn.Module:
    """A first convolution and five pairs of a depthwise 3 x 3 and a 1 x 1 convolution, all with
    batch norm.
    """
    widths = [(32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1)]
    pairs = {
        f"pair{k}": named(depthwise=conv_bn(i, i, 3, stride, groups=i), pointwise=conv_bn(i, o, 1))
        for k, (i, o, stride) in enumerate(widths, start=1)
    }
    stem = conv_bn(shape[0], 32, stride=stem_stride(shape))
    return named(
        stem=stem,
        **pairs,
        average=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        fc=nn.Linear(256, classes),
    )


_ENTRIES = (
    Architecture(
        "lenet_300_100",
        "LeNet-300-100",
        "Fully connected: three linear layers, no convolution.",
        "LeCun, Bottou, Bengio, Haffner 1998, Proc. IEEE 86(11)",
        lenet_300_100,
    ),
    Architecture(
        "lenet5",
        "LeNet-5",
        "Two 5 x 5 convolutions and three linear layers. Most weights are in the linear layers.",
        "LeCun, Bottou, Bengio, Haffner 1998, Proc. IEEE 86(11)",
        lenet5,
    ),
    Architecture(
        "vgg",
        "VGG (batch norm)",
        "A sequence of 3 x 3 convolutions with batch norm; no layers have tied channels.",
        "Simonyan, Zisserman 2014, arXiv:1409.1556",
        vgg,
    ),
    Architecture(
        "resnet20",
        "ResNet-20",
        "Residual blocks: channels that are added together are tied.",
        "He, Zhang, Ren, Sun 2015, arXiv:1512.03385",
        resnet20,
    ),
    Architecture(
        "mobilenet",
        "MobileNet",
        "Depthwise-separable: one 3 x 3 filter per channel, then a 1 x 1 convolution. "
        "Most weights are in the 1 x 1 convolutions.",
        "Howard et al. 2017, arXiv:1704.04861",
        mobilenet,
    ),
    Architecture(
        "vit",
        "ViT",
        "A vision transformer: attention heads and two-layer perceptrons on a grid of tokens.",
        "Dosovitskiy et al. 2020, arXiv:2010.11929; stem: Xiao et al. 2021, arXiv:2106.14881",
        vit,
    ),
)
ARCHITECTURES: dict[str, Architecture] = {entry.name: entry for entry in _ENTRIES}


def architecture(name: str) -> Architecture:
    """The network of this name. Raises PruningError for an unknown name."""
    return find(ARCHITECTURES, name, "architecture")
