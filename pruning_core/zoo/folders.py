"""Images in folders, one folder per class: Imagenette and folders of the user."""

import os
from pathlib import Path

import torch

from pruning_core.types import DataMissing, Dataset, PruningError
from pruning_core.zoo.fetch import fetch
from pruning_core.zoo.pretrained import (
    IMAGENETTE,
    PRETRAINED,
    Preparation,
    imagenet_outputs,
    preparation,
)
from pruning_core.zoo.request import Request, Source, missing_files_error
from pruning_core.zoo.splits import FolderSplit, stratified

# torchvision takes over a second to import, so the functions that need it import it.
VARIABLE = "PRUNING_EXPLORER_IMAGES"
"""Environment variable that names the folder of the user's images."""
SIDE = 32
"""Height and width of images for the networks of the zoo."""
_GREY = (0.5, 0.5, 0.5)
_LAYOUT = "train/CLASS/*.png and val/CLASS/*.png, or CLASS/*.png alone"
_IMAGENETTE_CLASSES = (
    "tench",
    "English springer",
    "cassette player",
    "chain saw",
    "church",
    "French horn",
    "garbage truck",
    "gas pump",
    "golf ball",
    "parachute",
)
IMAGENETTE_SIZES = ("320px", "160px", "full")
"""Sizes of Imagenette in order of preference. Without any of them, the first is downloaded."""


def _small_preparation() -> Preparation:
    """The input transform of the zoo's networks: 3 x 32 x 32 values in [-1, 1]."""
    from torchvision import transforms

    steps = [
        transforms.Resize(SIDE),
        transforms.CenterCrop(SIDE),
        transforms.ToTensor(),
        transforms.Normalize(_GREY, _GREY),
    ]
    return Preparation(transforms.Compose(steps), (3, SIDE, SIDE), _GREY, _GREY)


def _subfolders(folder: Path) -> list[str]:
    return sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.is_dir() and not entry.name.startswith(".")
    )


def _read_split(folder: Path, classes: list[str], prepared: Preparation) -> FolderSplit:
    """All images under folder/CLASS/, class after class, sorted by path."""
    from torchvision.datasets.folder import IMG_EXTENSIONS

    paths = []
    labels = []
    for label, name in enumerate(classes):
        files = (folder / name).rglob("*")
        images = sorted(path for path in files if path.suffix.lower() in IMG_EXTENSIONS)
        if not images:
            raise PruningError(
                f"The folder {folder / name} has no image. Add images or remove the folder."
            )
        paths += [str(path) for path in images]
        labels += [label] * len(images)
    return FolderSplit(
        tuple(paths),
        torch.tensor(labels, dtype=torch.long),
        prepared.transform,
        prepared.mean,
        prepared.std,
    )


def _classes(folder: Path) -> list[str]:
    classes = _subfolders(folder)
    if not classes:
        raise PruningError(f"The folder {folder} has no class folders. The layout is {_LAYOUT}.")
    if len(classes) == 1:
        raise PruningError(
            f"The folder {folder} has the single class {classes[0]!r}. "
            "A classifier needs at least two."
        )
    return classes


def _divide(whole: FolderSplit, *fractions: float) -> list[FolderSplit]:
    """Stratified parts of these fractions of the images, then the rest. The order is fixed.

    Raises PruningError where a part would be empty.
    """
    order = stratified(whole.labels)
    parts = []
    for fraction in fractions:
        size = max(1, round(fraction * len(whole)))
        parts.append(whole.subset(order[:size]))
        order = order[size:]
    if not len(order):
        raise PruningError(
            f"{len(whole)} images are too few for a training, a validation and a test split."
        )
    return [*parts, whole.subset(order)]


def _read_splits(
    root: Path, prepared: Preparation
) -> tuple[list[str], FolderSplit, FolderSplit, FolderSplit]:
    """Class names and the training, validation and test splits.

    Without a test folder, the folder val is the test split and a tenth of the folder train is the
    validation split. Without train and val folders, a fifth of all images each is for test and
    validation.
    """
    present = set(_subfolders(root)) & {"train", "val", "test"}
    if not present:
        classes = _classes(root)
        test, val, train = _divide(_read_split(root, classes, prepared), 0.2, 0.2)
        return classes, train, val, test
    if absent := {"train", "val"} - present:
        raise PruningError(
            f"The folder {root} has no {sorted(absent)[0]!r} folder. The layout is {_LAYOUT}."
        )
    classes = _classes(root / "train")
    for name in sorted(present):
        if _subfolders(root / name) != classes:
            raise PruningError(
                f"The folders {root / 'train'} and {root / name} have different classes."
            )
    parts = {name: _read_split(root / name, classes, prepared) for name in present}
    if "test" in parts:
        return classes, parts["train"], parts["val"], parts["test"]
    val, train = _divide(parts["train"], 0.1)
    return classes, train, val, parts["val"]


def folder_data(name: str, root: Path, model: str | None) -> Dataset:
    """The images under root as a data set.

    A pretrained model sets transform and classes; other models get 32 x 32 pixels.
    """
    pretrained = model in PRETRAINED
    prepared = preparation(str(model)) if pretrained else _small_preparation()
    classes, train, val, test = _read_splits(root, prepared)
    outputs = imagenet_outputs(tuple(classes), str(model)) if pretrained else None
    class_names = dict(zip(IMAGENETTE, _IMAGENETTE_CLASSES, strict=True))
    names = tuple(class_names.get(folder, folder) for folder in classes)
    return Dataset(name, names, prepared.shape, train, val, test, outputs)


def _image_folder(request: Request) -> Dataset:
    root = Path(os.environ.get(VARIABLE) or request.root / "imagefolder").expanduser()
    if not root.is_dir():
        raise DataMissing(
            f"There is no image folder at {root}. "
            f"Set {VARIABLE} to a folder of the layout {_LAYOUT}."
        )
    return folder_data("imagefolder", root, request.model)


def _imagenette(request: Request) -> Dataset:
    from torchvision import datasets as vision

    archives = vision.Imagenette._ARCHIVES
    folders = {size: request.root / Path(archives[size][0]).stem for size in IMAGENETTE_SIZES}
    root = next((folder for folder in folders.values() if folder.is_dir()), None)
    if root is None:
        _download_imagenette(request, *archives[IMAGENETTE_SIZES[0]])
        root = folders[IMAGENETTE_SIZES[0]]
    return folder_data("imagenette", root, request.model)


def _download_imagenette(request: Request, url: str, md5: str) -> None:
    from torchvision import datasets as vision

    layout = f"the folder {Path(url).stem} (unpacked from {Path(url).name})"
    if not request.download:
        raise missing_files_error("Imagenette", request, layout)
    try:
        fetch(url, request.root / Path(url).name, "md5", md5, request.progress)
    except OSError as error:
        raise missing_files_error("Imagenette", request, layout, error) from error
    vision.Imagenette(str(request.root), split="train", size=IMAGENETTE_SIZES[0], download=True)


FOLDERS = (
    Source(
        "imagenette",
        "Imagenette",
        _IMAGENETTE_CLASSES,
        None,
        "13,394 photographs of ten ImageNet classes (Howard 2019). Networks that are trained on "
        "ImageNet have seen many of them.",
        "Downloaded at first use (about 330 MB), or read from a local folder.",
        _imagenette,
    ),
    Source(
        "imagefolder",
        "Image folder",
        (),
        None,
        "Your own images, one folder per class.",
        f"Set {VARIABLE} to a folder of the layout {_LAYOUT}.",
        _image_folder,
    ),
)
