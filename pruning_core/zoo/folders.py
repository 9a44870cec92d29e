"""Images in folders, one folder per class: Imagenette and any ImageFolder, read when asked for."""

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
from pruning_core.zoo.request import Request, Source, missing
from pruning_core.zoo.splits import FolderSplit, stratified

# torchvision takes over a second to import: only where a folder is read.
VARIABLE = "PRUNING_EXPLORER_IMAGES"
SIDE = 32
_GREY = (0.5, 0.5, 0.5)
_LAYOUT = "train/CLASS/*.png and val/CLASS/*.png, or CLASS/*.png alone"
_NAMES = (
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
"""Sizes that are looked for, in this order; the first is downloaded where none is there."""


def _small() -> Preparation:
    """What the zoo's own networks take from folders: 32 x 32 colour pixels around 0."""
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


def _split(folder: Path, classes: list[str], prepared: Preparation) -> FolderSplit:
    """All images under folder/CLASS/, class by class, in the order of their paths."""
    from torchvision.datasets.folder import IMG_EXTENSIONS

    paths = []
    labels = []
    for label, name in enumerate(classes):
        found = sorted(
            path for path in (folder / name).rglob("*") if path.suffix.lower() in IMG_EXTENSIONS
        )
        if not found:
            raise PruningError(f"The folder {folder / name} holds no image; add some or remove it.")
        paths += [str(path) for path in found]
        labels += [label] * len(found)
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
        raise PruningError(f"The folder {folder} holds no class folders: the layout is {_LAYOUT}.")
    if len(classes) == 1:
        raise PruningError(
            f"The folder {folder} holds the single class {classes[0]!r}; a classifier needs at least two."
        )
    return classes


def _divided(whole: FolderSplit, *shares: float) -> list[FolderSplit]:
    """Fixed, stratified parts of these shares, then the rest; no part is empty."""
    order = stratified(whole.labels)
    parts = []
    for share in shares:
        size = max(1, round(share * len(whole)))
        parts.append(whole.subset(order[:size]))
        order = order[size:]
    if not len(order):
        raise PruningError(
            f"{len(whole)} images are too few to be split into training, validation and test images."
        )
    return [*parts, whole.subset(order)]


def _three(
    root: Path, prepared: Preparation
) -> tuple[list[str], FolderSplit, FolderSplit, FolderSplit]:
    """Class names, train, val, test. With train and val folders alone, val is the test and a tenth
    of train validates.
    """
    there = set(_subfolders(root)) & {"train", "val", "test"}
    if not there:
        classes = _classes(root)
        test, val, train = _divided(_split(root, classes, prepared), 0.2, 0.2)
        return classes, train, val, test
    if lacking := {"train", "val"} - there:
        raise PruningError(
            f"The folder {root} has no {sorted(lacking)[0]!r} folder: the layout is {_LAYOUT}."
        )
    classes = _classes(root / "train")
    if wrong := [name for name in sorted(there) if _subfolders(root / name) != classes]:
        raise PruningError(
            f"The folders {root / 'train'} and {root / wrong[0]} hold different classes."
        )
    parts = {name: _split(root / name, classes, prepared) for name in there}
    if "test" in parts:
        return classes, parts["train"], parts["val"], parts["test"]
    val, train = _divided(parts["train"], 0.1)
    return classes, train, val, parts["val"]


def folder_data(name: str, root: Path, model: str | None) -> Dataset:
    """The images under root; a pretrained model's own transform and classes, or 32 x 32 pixels for
    the zoo's networks.
    """
    pretrained = model in PRETRAINED
    prepared = preparation(str(model)) if pretrained else _small()
    classes, train, val, test = _three(root, prepared)
    outputs = imagenet_outputs(tuple(classes), str(model)) if pretrained else None
    shown = dict(zip(IMAGENETTE, _NAMES, strict=True))
    return Dataset(
        name, tuple(shown.get(c, c) for c in classes), prepared.shape, train, val, test, outputs
    )


def _image_folder(request: Request) -> Dataset:
    root = Path(os.environ.get(VARIABLE) or request.root / "imagefolder").expanduser()
    if not root.is_dir():
        raise DataMissing(
            f"There is no image folder at {root}: set {VARIABLE} to a folder of the layout {_LAYOUT}."
        )
    return folder_data("imagefolder", root, request.model)


def _imagenette(request: Request) -> Dataset:
    from torchvision import datasets as vision

    archives = vision.Imagenette._ARCHIVES
    folders = {size: request.root / Path(archives[size][0]).stem for size in IMAGENETTE_SIZES}
    found = next((folder for folder in folders.values() if folder.is_dir()), None)
    if found is None:
        _download_imagenette(request, *archives[IMAGENETTE_SIZES[0]])
    return folder_data("imagenette", found or folders[IMAGENETTE_SIZES[0]], request.model)


def _download_imagenette(request: Request, url: str, md5: str) -> None:
    from torchvision import datasets as vision

    layout = f"the folder {Path(url).stem} (unpacked from {Path(url).name})"
    if not request.download:
        raise missing("Imagenette", request, layout)
    try:
        fetch(url, request.root / Path(url).name, "md5", md5, request.progress)
    except OSError as error:
        raise missing("Imagenette", request, layout, error) from error
    vision.Imagenette(str(request.root), split="train", size=IMAGENETTE_SIZES[0], download=True)


FOLDERS = (
    Source(
        "imagenette",
        "Imagenette",
        _NAMES,
        None,
        "13,394 photographs of ten ImageNet classes (Howard 2019); networks trained on ImageNet have seen many of them.",
        "Downloaded through torchvision at first use (about 330 MB), or read from a local folder.",
        _imagenette,
    ),
    Source(
        "imagefolder",
        "Image folder",
        (),
        None,
        "Your own pictures, one folder per class.",
        f"Set {VARIABLE} to a folder of the layout {_LAYOUT}.",
        _image_folder,
    ),
)
