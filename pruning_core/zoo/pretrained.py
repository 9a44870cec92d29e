"""ImageNet classifiers of torchvision and of packages, with their weights and transforms."""

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from PIL import Image
from torch import Tensor, nn

from pruning_core.registry import find
from pruning_core.types import DataMissing, PruningError
from pruning_core.zoo.efficientnet_lite import load_efficientnet_lite0, weights_path
from pruning_core.zoo.fetch import Progress, fetch

UNREADABLE = (
    RuntimeError,
    OSError,
    EOFError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    pickle.UnpicklingError,
)
"""What loading a damaged weights file raises."""
LITE_MEAN = (127 / 255,) * 3
LITE_STD = (128 / 255,) * 3

# torchvision takes over a second to import, so the functions that need it import it.
if TYPE_CHECKING:
    from torchvision.models import WeightsEnum


@dataclass(frozen=True)
class Preparation:
    """The input transform of a model.

    transform: PIL image -> normalised tensor of this shape (C x H x W); mean, std: per channel, the
    values that it subtracts and divides by.
    """

    transform: Callable[[Image.Image], Tensor]
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def centre_crop(
    resize: int,
    height: int,
    width: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    interpolation: str = "bilinear",
) -> Preparation:
    """The middle of an image whose shorter side is resized, normalised per channel.

    mean, std: one number per channel. Resizing uses antialiasing.
    """
    from torchvision import transforms

    steps = [
        transforms.Resize(resize, transforms.InterpolationMode(interpolation)),
        transforms.CenterCrop((height, width)),
        transforms.ToTensor(),
        transforms.Normalize(mean, std),
    ]
    return Preparation(transforms.Compose(steps), (len(mean), height, width), mean, std)


@dataclass(frozen=True)
class Pretrained:
    """A classifier of torchvision. name: as in torchvision.models.get_model."""

    name: str
    label: str
    help: str
    source: str
    trained_by: ClassVar[str] = "torchvision"

    @property
    def weights(self) -> "WeightsEnum":
        """The default ImageNet weights."""
        from torchvision.models import get_model_weights

        return get_model_weights(self.name).DEFAULT

    def preparation(self) -> Preparation:
        """The input transform."""
        transform = self.weights.transforms()
        side = transform.crop_size[0]
        return Preparation(transform, (3, side, side), tuple(transform.mean), tuple(transform.std))

    def load(self, download: bool, progress: Progress | None) -> nn.Module:
        """As `load_pretrained`."""
        from torchvision.models import get_model

        weights = self.weights
        target = weights_file(self.name)
        if not target.is_file():
            _download_weights(self.name, weights.url, target, download, progress)
        try:
            with torch.random.fork_rng([]):  # building draws random weights
                model: nn.Module = get_model(self.name, weights=weights)
                return model.eval()
        except UNREADABLE as error:
            raise PruningError(
                f"The weights file {target.name} is damaged or of another model. "
                f"Remove it from {target.parent}."
            ) from error


@dataclass(frozen=True)
class PackagedLite0(Pretrained):
    """EfficientNet-Lite0, whose weights are in a package of the registry."""

    trained_by: ClassVar[str] = "Google, in a package"

    def preparation(self) -> Preparation:
        """224 x 224 pixels from the middle of 256, as (value - 127) / 128."""
        return centre_crop(256, 224, 224, LITE_MEAN, LITE_STD, "bicubic")

    def load(self, download: bool, progress: Progress | None) -> nn.Module:
        """As `load_pretrained`; nothing is downloaded."""
        path = weights_path()
        try:
            return load_efficientnet_lite0(path)
        except UNREADABLE as error:
            raise PruningError(
                f"The weights file {path} is damaged or of another model: install the extra again."
            ) from error


_ENTRIES = (
    (
        "resnet18",
        "ResNet-18",
        "Residual basic blocks, 11.7 M parameters.",
        "He et al. 2015, arXiv:1512.03385",
    ),
    (
        "resnet50",
        "ResNet-50",
        "Residual bottleneck blocks, 25.6 M parameters.",
        "He et al. 2015, arXiv:1512.03385",
    ),
    (
        "vgg16_bn",
        "VGG-16 (batch norm)",
        "A sequence of 3 x 3 convolutions, 138 M parameters.",
        "Simonyan, Zisserman 2014, arXiv:1409.1556",
    ),
    (
        "mobilenet_v2",
        "MobileNetV2",
        "Inverted residuals, 3.5 M parameters.",
        "Sandler et al. 2018, arXiv:1801.04381",
    ),
    (
        "mobilenet_v3_small",
        "MobileNetV3 small",
        "Inverted residuals with squeeze-and-excitation, 2.5 M parameters.",
        "Howard et al. 2019, arXiv:1905.02244",
    ),
    (
        "mobilenet_v3_large",
        "MobileNetV3 large",
        "Inverted residuals with squeeze-and-excitation, 5.5 M parameters.",
        "Howard et al. 2019, arXiv:1905.02244",
    ),
    (
        "densenet121",
        "DenseNet-121",
        "Dense connections, 8.0 M parameters.",
        "Huang et al. 2016, arXiv:1608.06993",
    ),
    (
        "efficientnet_b0",
        "EfficientNet-B0",
        "Inverted residuals of scaled width and depth, 5.3 M parameters.",
        "Tan, Le 2019, arXiv:1905.11946",
    ),
    (
        "convnext_tiny",
        "ConvNeXt tiny",
        "7 x 7 depthwise blocks, 28.6 M parameters.",
        "Liu et al. 2022, arXiv:2201.03545",
    ),
    (
        "vit_b_16",
        "ViT-B/16",
        "A vision transformer, 86.6 M parameters.",
        "Dosovitskiy et al. 2020, arXiv:2010.11929",
    ),
)
_LITE0 = PackagedLite0(
    "efficientnet_lite0",
    "EfficientNet-Lite0",
    "Inverted residuals for phones, 4.7 M parameters.",
    "Tan, Le 2019, arXiv:1905.11946",
)
PRETRAINED: dict[str, Pretrained] = {
    **{entry[0]: Pretrained(*entry) for entry in _ENTRIES},
    _LITE0.name: _LITE0,
}

IMAGENETTE = {
    "n01440764": 0,
    "n02102040": 217,
    "n02979186": 482,
    "n03000684": 491,
    "n03028079": 497,
    "n03394916": 566,
    "n03417042": 569,
    "n03425413": 571,
    "n03445777": 574,
    "n03888257": 701,
}
"""WordNet id -> ImageNet class number, for the ten classes of Imagenette."""


def preparation(name: str) -> Preparation:
    """The input transform of a pretrained model. Raises PruningError for an unknown name."""
    return find(PRETRAINED, name, "pretrained model").preparation()


def imagenet_categories() -> tuple[str, ...]:
    """The names of ImageNet's 1,000 classes, in order."""
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.DEFAULT.meta["categories"])


def _normalised(text: str) -> str:
    return " ".join(text.lower().replace("_", " ").split())


@cache
def _class_numbers() -> Mapping[str, int]:
    """Every name that a class of ImageNet may have -> its number."""
    categories = imagenet_categories()
    numbers = {str(number): number for number in range(len(categories))} | IMAGENETTE
    return numbers | {
        _normalised(category): number for number, category in reversed(list(enumerate(categories)))
    }


def is_imagenet(folder: str) -> bool:
    """Is it the name of a class of ImageNet, as in `imagenet_outputs`?"""
    return _normalised(folder) in _class_numbers()


def imagenet_outputs(folders: tuple[str, ...], name: str) -> tuple[int, ...]:
    """The model's logits, of 1,000, for the classes of these folders.

    The name of a folder is an ImageNet category ("tench"), a WordNet id of Imagenette ("n01440764")
    or a class number ("0"). Raises PruningError for other names and for two folders of one class.
    """
    find(PRETRAINED, name, "pretrained model")
    numbers = _class_numbers()
    unknown = [folder for folder in folders if _normalised(folder) not in numbers]
    if unknown:
        raise PruningError(
            f"{name} has the 1,000 classes of ImageNet, and {unknown[0]!r} is none of them. "
            "Name the folder after an ImageNet category, such as 'tench', "
            "or after a class number from 0 to 999."
        )
    outputs = tuple(numbers[_normalised(folder)] for folder in folders)
    if len(set(outputs)) < len(outputs):
        raise PruningError(
            f"Two of these folders are of the same ImageNet class: {', '.join(folders)}."
        )
    return outputs


def weights_file(name: str) -> Path:
    """The file in torch.hub's folder that holds the default weights of a pretrained model."""
    url = find(PRETRAINED, name, "pretrained model").weights.url
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name


def load_pretrained(
    name: str, download: bool = True, progress: Progress | None = None
) -> nn.Module:
    """The classifier with its default weights, in eval mode on the CPU.

    Raises DataMissing for weights that are not on this machine and are not or cannot be downloaded,
    PruningError for a damaged file.
    """
    return find(PRETRAINED, name, "pretrained model").load(download, progress)


def _download_weights(
    name: str, url: str, target: Path, download: bool, progress: Progress | None
) -> None:
    """Raises DataMissing where the download is not wanted or fails."""
    advice = f"Put the file {target.name} into {target.parent}."
    if not download:
        raise DataMissing(f"The weights of {name} are not on this machine. {advice}")
    try:
        # The name of the file ends with the first digits of its SHA-256.
        fetch(url, target, "sha256", target.stem.rpartition("-")[2], progress)
    except OSError as error:
        raise DataMissing(
            f"The weights of {name} are not on this machine, and the download failed ({error}). "
            f"{advice}"
        ) from error
