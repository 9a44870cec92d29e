"""torchvision's ImageNet classifiers by name, with their own default weights and input transforms."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor, nn

from pruning_core.registry import find
from pruning_core.types import DataMissing, PruningError
from pruning_core.zoo.fetch import Progress, fetch

# torchvision takes over a second to import: only where one of its networks is read.
if TYPE_CHECKING:
    from torchvision.models import WeightsEnum


@dataclass(frozen=True)
class Pretrained:
    """A torchvision classifier. name: as torchvision.models.get_model knows it."""

    name: str
    label: str
    help: str
    source: str

    @property
    def weights(self) -> "WeightsEnum":
        """Its default ImageNet weights."""
        from torchvision.models import get_model_weights

        return get_model_weights(self.name).DEFAULT


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
        "A plain stack, 138 M parameters.",
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
        "Squeeze, excitation, 2.5 M parameters.",
        "Howard et al. 2019, arXiv:1905.02244",
    ),
    (
        "mobilenet_v3_large",
        "MobileNetV3 large",
        "Squeeze, excitation, 5.5 M parameters.",
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
        "Scaled mobile blocks, 5.3 M parameters.",
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
PRETRAINED: dict[str, Pretrained] = {entry[0]: Pretrained(*entry) for entry in _ENTRIES}

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
"""ImageNet class number of each of Imagenette's ten WordNet ids."""


@dataclass(frozen=True)
class Preparation:
    """How a model wants its pictures. transform: PIL image -> normalised tensor; mean, std: what it
    subtracts and divides by.
    """

    transform: Callable[[Image.Image], Tensor]
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def preparation(name: str) -> Preparation:
    """The transform that came with the weights of a pretrained model."""
    transform = find(PRETRAINED, name, "pretrained model").weights.transforms()
    side = transform.crop_size[0]
    return Preparation(transform, (3, side, side), tuple(transform.mean), tuple(transform.std))


def _plain(text: str) -> str:
    return " ".join(text.lower().replace("_", " ").split())


def imagenet_outputs(folders: tuple[str, ...], name: str) -> tuple[int, ...]:
    """Which of the model's 1,000 logits stand for the classes of these folders.

    A folder is named by an ImageNet category ("tench"), a WordNet id of Imagenette ("n01440764") or
    a class number ("0"). Raises PruningError for another name and for two folders of one class.
    """
    categories = find(PRETRAINED, name, "pretrained model").weights.meta["categories"]
    numbers = {str(number): number for number in range(len(categories))} | IMAGENETTE
    numbers |= {
        _plain(category): number for number, category in reversed(list(enumerate(categories)))
    }
    unknown = [folder for folder in folders if _plain(folder) not in numbers]
    if unknown:
        raise PruningError(
            f"{name} knows the 1,000 classes of ImageNet, and the folder {unknown[0]!r} is none of them: "
            "name it after an ImageNet category, such as 'tench', or after a class number from 0 to 999."
        )
    found = tuple(numbers[_plain(folder)] for folder in folders)
    if len(set(found)) < len(found):
        raise PruningError(
            f"Two folders stand for the same ImageNet class among {', '.join(folders)}."
        )
    return found


def weights_file(name: str) -> Path:
    """Where torch.hub keeps the file of a pretrained model's default weights."""
    url = find(PRETRAINED, name, "pretrained model").weights.url
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name


def load_pretrained(
    name: str, download: bool = True, progress: Progress | None = None
) -> nn.Module:
    """The classifier with its default weights, in eval mode on the CPU.

    Raises DataMissing when the weights are not on this machine and cannot be fetched, PruningError
    when their file is damaged.
    """
    from torchvision.models import get_model

    weights = find(PRETRAINED, name, "pretrained model").weights
    target = weights_file(name)
    where = f"put the file {target.name} into {target.parent}"
    if not target.is_file() and not download:
        raise DataMissing(f"The weights of {name} are not on this machine: {where}.")
    try:
        if not target.is_file():
            # torch.hub's file names end in the first digits of the file's SHA-256.
            fetch(weights.url, target, "sha256", target.stem.rpartition("-")[2], progress)
    except OSError as error:
        raise DataMissing(
            f"The weights of {name} are not on this machine and the download failed ({error}): {where}."
        ) from error
    try:
        with torch.random.fork_rng(
            []
        ):  # the constructor draws random weights, which are overwritten
            model: nn.Module = get_model(name, weights=weights)
            return model.eval()
    except (
        RuntimeError,
        OSError,
        EOFError,
        KeyError,
        ValueError,
        TypeError,
        pickle.UnpicklingError,
    ) as error:
        raise PruningError(
            f"The weights file {target.name} is damaged or of another model: remove it from {target.parent}."
        ) from error
