"""Data sets that fit into memory: digits, MNIST, Fashion-MNIST, CIFAR-10."""

from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from pruning_core.types import Dataset, PruningError
from pruning_core.zoo.fetch import fetch
from pruning_core.zoo.idx_files import labelled_images
from pruning_core.zoo.request import Request, Source, missing_files_error
from pruning_core.zoo.splits import TensorSplit, stratified

# torchvision takes over a second to import, so the functions that need it import it.
if TYPE_CHECKING:
    from torchvision import datasets as vision

VALIDATION = 5_000
"""Largest number of training images that become the validation split."""
MNIST_PARTS = ("train", "t10k")
"""How the names of MNIST's files begin."""


def _digits(request: Request) -> Dataset:
    """1,797 scans. A stratified fifth each is for test and validation; the order is fixed."""
    images, target = _digits_of_scikit_learn()
    x = torch.from_numpy(images).unsqueeze(1)
    y = torch.from_numpy(target)
    whole = TensorSplit(x, y, mean=(0.3053,), std=(0.3760,), scale=16, shift=1)
    test, val, train = map(whole.subset, _fifths(y))
    return Dataset("digits", tuple("0123456789"), (1, 8, 8), train, val, test)


def _digits_of_scikit_learn() -> tuple[UInt8[np.ndarray, "n 8 8"], Int64[np.ndarray, " n"]]:
    """Pixels from 0 to 16 and classes, as `sklearn.datasets.load_digits` gives them.

    Its file is read here: to import scikit-learn takes over a second, in every process.
    """
    file = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    table = np.loadtxt(str(file), dtype=np.uint8, delimiter=",")
    return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)


def _fifths(labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which images are for test, validation and training."""
    order = stratified(labels)
    fifth = round(len(labels) / 5)
    return order[:fifth], order[fifth : 2 * fifth], order[2 * fifth :]


def _digits_script(root: Path) -> str:
    test = _fifths(torch.from_numpy(_digits_of_scikit_learn()[1]))[0].tolist()
    return f'''\
from sklearn.datasets import load_digits

TEST = (
{fill(", ".join(map(str, test)), 96, initial_indent="    ", subsequent_indent="    ")},
)


def images():
    """The images of these positions, with pixels from 0 to 16, and their classes."""
    raw = load_digits()
    chosen = list(TEST)
    return torch.from_numpy(raw.images[chosen])[:, None], torch.from_numpy(raw.target[chosen])'''


def _three_splits(
    name: str, classes: tuple[str, ...], whole: TensorSplit, test: TensorSplit
) -> Dataset:
    """Takes a fixed, stratified tenth of the training images for validation, at most 5,000."""
    order = stratified(whole.labels)
    n = min(VALIDATION, len(whole) // 10)
    _, c, h, w = whole.x.shape
    return Dataset(name, classes, (c, h, w), whole.subset(order[n:]), whole.subset(order[:n]), test)


def _fetch_mnist(kind: "type[vision.MNIST]", request: Request) -> None:
    """Downloads the files from the first server that has all of them.

    Raises the last OSError where no server does.
    """
    errors: list[OSError] = []
    folder = request.root / kind.__name__ / "raw"
    for mirror in kind.mirrors:
        try:
            for name, md5 in kind.resources:
                fetch(f"{mirror}{name}", folder / name, "md5", md5, request.progress)
        except OSError as error:
            errors.append(error)
        else:
            return
    raise errors[-1]


def _read_mnist(folder: str, label: str, request: Request) -> list[tuple[Tensor, Tensor]]:
    """Images and classes of the training and of the test files."""
    layout = f"the unpacked files {folder}/raw/*-ubyte"
    raw = request.root / folder / "raw"
    parts = [(f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte") for part in MNIST_PARTS]
    present = all((raw / name).is_file() for names in parts for name in names)
    if not present and not request.download:
        raise missing_files_error(label, request, layout)
    try:
        if not present:
            _unpack_mnist(folder, request)
        return [labelled_images(raw / images, raw / labels) for images, labels in parts]
    except OSError as error:
        raise missing_files_error(label, request, layout, error) from error
    except (RuntimeError, ValueError) as error:
        raise PruningError(
            f"The files of {label} in {request.root} are damaged ({error}). "
            "Remove them and download them again."
        ) from error


def _unpack_mnist(folder: str, request: Request) -> None:
    from torchvision import datasets as vision

    kind = getattr(vision, folder)
    _fetch_mnist(kind, request)
    kind(str(request.root), download=True)


def _mnist_like(
    name: str, label: str, classes: tuple[str, ...], mean: float, std: float, flip: bool
) -> Callable[[Request], Dataset]:
    """The loader of a data set in MNIST's format.

    label: without its hyphen, it is the name of the folder, and of the class in torchvision.
    """

    def load(request: Request) -> Dataset:
        train, test = (
            TensorSplit(images.unsqueeze(1), labels.long(), (mean,), (std,), shift=2, flip=flip)
            for images, labels in _read_mnist(label.replace("-", ""), label, request)
        )
        return _three_splits(name, classes, train, test)

    return load


def _vision_script(kind: str, channels_last: bool = False) -> Callable[[Path], str]:
    """The lines for a data set of torchvision, whose test split is measured whole."""
    pixels = "torch.as_tensor(raw.data)" + (
        ".permute(0, 3, 1, 2)" if channels_last else ".unsqueeze(1)"
    )

    def script(root: Path) -> str:
        return f'''\
from torchvision.datasets import {kind}


def images():
    """The test images, with pixels from 0 to 255, and their classes."""
    raw = {kind}({str(root)!r}, train=False, download=True)
    return {pixels}, torch.as_tensor(raw.targets)'''

    return script


def _cifar10(request: Request) -> Dataset:
    """60,000 colour images (Krizhevsky 2009), from the Python pickles of the authors."""
    from torchvision import datasets as vision

    kind = vision.CIFAR10
    layout = f"the folder {vision.CIFAR10.base_folder}"
    present = (request.root / kind.base_folder).is_dir()
    if not present and not request.download:
        raise missing_files_error("CIFAR-10", request, layout)
    try:
        if not present:
            fetch(kind.url, request.root / kind.filename, "md5", kind.tgz_md5, request.progress)
        parts = [
            kind(str(request.root), train=train, download=train and not present)
            for train in (True, False)
        ]
    except OSError as error:
        raise missing_files_error("CIFAR-10", request, layout, error) from error
    except RuntimeError as error:
        raise PruningError(
            f"The files of CIFAR-10 in {request.root} are damaged. "
            f"Remove {kind.base_folder} and download them again."
        ) from error

    def split(part: "vision.CIFAR10") -> TensorSplit:
        x = torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous()
        return TensorSplit(
            x,
            torch.tensor(part.targets),
            (0.4914, 0.4822, 0.4465),
            (0.2470, 0.2435, 0.2616),
            shift=4,
            flip=True,
        )

    return _three_splits("cifar10", tuple(parts[1].classes), split(parts[0]), split(parts[1]))


_CLOTHING = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_NUMERALS = (
    "0 - zero",
    "1 - one",
    "2 - two",
    "3 - three",
    "4 - four",
    "5 - five",
    "6 - six",
    "7 - seven",
    "8 - eight",
    "9 - nine",
)
_DOWNLOADED = "Downloaded at first use, or read from a local folder."
SMALL = (
    Source(
        "digits",
        "Digits",
        tuple("0123456789"),
        (1, 8, 8),
        "1,797 handwritten digits of 8 x 8 grey pixels (Alpaydin, Kaynak 1998).",
        "Part of scikit-learn.",
        _digits,
        _digits_script,
    ),
    Source(
        "fashion_mnist",
        "Fashion-MNIST",
        _CLOTHING,
        (1, 28, 28),
        "70,000 articles of clothing, 28 x 28 grey pixels "
        "(Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747).",
        _DOWNLOADED,
        _mnist_like("fashion_mnist", "Fashion-MNIST", _CLOTHING, 0.2860, 0.3530, flip=True),
        _vision_script("FashionMNIST"),
    ),
    Source(
        "mnist",
        "MNIST",
        tuple("0123456789"),
        (1, 28, 28),
        "70,000 handwritten digits, 28 x 28 grey pixels (LeCun, Cortes, Burges 1998).",
        _DOWNLOADED,
        _mnist_like("mnist", "MNIST", _NUMERALS, 0.1307, 0.3081, flip=False),
        _vision_script("MNIST"),
    ),
    Source(
        "cifar10",
        "CIFAR-10",
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        (3, 32, 32),
        "60,000 colour images of 32 x 32 pixels (Krizhevsky 2009).",
        _DOWNLOADED,
        _cifar10,
        _vision_script("CIFAR10", channels_last=True),
    ),
)
