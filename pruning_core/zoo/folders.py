"""Images in folders, one folder per class: Imagenette and folders of the user."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from pruning_core.tasks import TASKS
from pruning_core.types import DataMissing, Dataset, PruningError
from pruning_core.zoo.fetch import fetch
from pruning_core.zoo.image_files import (
    class_name,
    image_paths,
    loose_images,
    printable,
    subfolders,
)
from pruning_core.zoo.pretrained import (
    IMAGENETTE,
    PRETRAINED,
    Preparation,
    centre_crop,
    imagenet_categories,
    imagenet_outputs,
    is_imagenet,
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
LAYOUT = (
    "The layout is train/CLASS/*.png with val/CLASS/*.png or test/CLASS/*.png or both, or "
    "CLASS/*.png alone."
)
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Name of a folder, in lower case -> its split."""
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
SEEN_VAL = (
    "If the network was trained on these validation images already, its validation value is too "
    "good; its test value is not."
)
SEEN = "If the network was trained on these images already, its values are too good."
NO_CLASSES = (
    "These images are not in class folders, so the value is the agreement with the dense network."
)
IMAGENETTE_SIZES = ("320px", "160px", "full")
"""Sizes of Imagenette in order of preference. Without any of them, the first is downloaded."""


def small_preparation() -> Preparation:
    """The input transform of the zoo's networks: 3 x 32 x 32 values in [-1, 1]."""
    return centre_crop(SIDE, SIDE, SIDE, _GREY, _GREY)


@dataclass(frozen=True, eq=False)
class ImageFolders:
    """The images of a folder in three splits.

    classes: names of the class folders, sorted; notes: sentences on the splits that were made.
    """

    classes: tuple[str, ...]
    train: FolderSplit
    val: FolderSplit
    test: FolderSplit
    notes: tuple[str, ...] = ()


def read_folders(root: Path, prepared: Preparation) -> ImageFolders:
    """The images under root: train/CLASS/, with val/CLASS/ or test/CLASS/ or both, or CLASS/ alone.

    The splits that are missing are stratified parts of the training images: a tenth for
    validation, and a fifth each where there is neither. With train and val alone, val is the test
    split. Raises PruningError for every other layout.
    """
    parts = split_folders(root)
    loose = loose_images(root, root, *parts.values())
    folders = _with_classes(root, parts, prepared)
    return replace(folders, notes=folders.notes + loose)


def _with_classes(root: Path, parts: dict[str, Path], prepared: Preparation) -> ImageFolders:
    """As `read_folders`. parts: as of `split_folders`."""
    train, classes = _read_split(parts.pop("train", root), None, prepared)
    given = {}
    for name, folder in parts.items():
        given[name], other = _read_split(folder, classes, prepared)
        _check_classes(root, folder, classes, other)
    if not given:
        return _in_fifths(classes, train)
    if len(given) == 2:
        return ImageFolders(classes, train, given["val"], given["test"])
    ((name, test),) = given.items()
    val, train = _divide(train, 0.1)
    note = (
        "The validation split is a tenth of the training images; the folder "
        f"{printable(parts[name].name)} is the test split."
        if name == "val"
        else "The validation split is a tenth of the training images."
    )
    return ImageFolders(classes, train, val, test, (note, SEEN_VAL))


def read_images(root: Path, prepared: Preparation) -> ImageFolders:
    """As `read_folders`; images in no folder, or all in a single one, have no classes."""
    folders = subfolders(root)
    if not folders:
        return _without_classes(root, prepared)
    if len(folders) == 1 and folders[0].lower() not in SPLIT_NAMES:
        loose = loose_images(root, root)
        return _without_classes(root if loose else root / folders[0], prepared)
    return read_folders(root, prepared)


def split_folders(root: Path) -> dict[str, Path]:
    """train, val and test -> folder; empty where the class folders are in root itself.

    Beside other folders, a folder train without class folders is a class, and so are val and test
    without train.
    Raises PruningError where folders are of the same split, or there is no train.
    """
    folders = subfolders(root)
    parts: dict[str, Path] = {}
    for folder in folders:
        name = SPLIT_NAMES.get(folder.lower())
        if name in parts:
            raise PruningError(
                f"The folders {parts[name].name} and {folder} in {printable(root)} are the same "
                "split: remove one."
            )
        if name:
            parts[name] = root / folder
    if not parts:
        return {}
    if "train" not in parts:
        if len(parts) < len(folders):
            return {}  # val or test is a class among others
        raise PruningError(f"The folder {printable(root)} has no 'train' folder. {LAYOUT}")
    if len(parts) < len(folders) and not subfolders(parts["train"]):
        return {}
    return parts


def _check_classes(
    root: Path, folder: Path, classes: tuple[str, ...], other: tuple[str, ...]
) -> None:
    """Raises PruningError where a split has other classes than the training images."""
    if different := sorted(set(classes) ^ set(other)):
        raise PruningError(
            f"The training images and {printable(folder)} in {printable(root)} have different "
            f"classes: only one of them has {different[0]!r}."
        )


def _read_split(
    folder: Path, classes: tuple[str, ...] | None, prepared: Preparation
) -> tuple[FolderSplit, tuple[str, ...]]:
    """All images under folder/CLASS/ and the classes.

    classes: of the training images; with other classes nothing is read.
    """
    named = class_folders(folder)
    names = tuple(named)
    images = labelled_images(folder, named) if classes in (None, names) else []
    return _split(folder, images, prepared), names


def _split(folder: Path, images: list[tuple[Path, int]], prepared: Preparation) -> FolderSplit:
    """These images, each with its class number. Errors name them by their path below folder."""
    return FolderSplit(
        tuple(str(path) for path, _ in images),
        torch.tensor([label for _, label in images], dtype=torch.long),
        prepared.transform,
        prepared.mean,
        prepared.std,
        "L" if prepared.shape[0] == 1 else "RGB",
        str(folder),
    )


def labelled_images(folder: Path, named: Mapping[str, str]) -> list[tuple[Path, int]]:
    """All images under folder/CLASS/ with their class numbers: class after class, sorted by path.

    named: class -> its folder, as `class_folders` gives it.
    """
    return [
        (path, label)
        for label, subfolder in enumerate(named.values())
        for path in image_paths(folder / subfolder)
    ]


def class_folders(folder: Path) -> dict[str, str]:
    """Class -> its folder, sorted by class. Raises PruningError for less than two classes."""
    folders = subfolders(folder)
    if not folders:
        raise PruningError(f"The folder {printable(folder)} has no class folders. {LAYOUT}")
    if len(folders) == 1:
        raise PruningError(
            f"The folder {printable(folder)} has the single class {class_name(folders[0])!r}. "
            "A classifier needs at least two."
        )
    named = {class_name(name): name for name in folders}
    if len(named) < len(folders):
        raise PruningError(
            f"Two class folders in {printable(folder)} have the same name in two spellings of "
            "accents: rename one."
        )
    return dict(sorted(named.items()))


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


def _in_fifths(classes: tuple[str, ...], whole: FolderSplit) -> ImageFolders:
    """Images without splits: a fifth of them each for validation and test."""
    test, val, train = _divide(whole, 0.2, 0.2)
    note = "The validation and the test split are a fifth of the images each."
    return ImageFolders(classes, train, val, test, (note, SEEN) if classes else (note,))


def folder_data(name: str, root: Path, model: str | None) -> Dataset:
    """The images under root as a data set.

    A pretrained model sets transform and classes; other models get 32 x 32 pixels. Where no folder
    of a pretrained model's images has the name of one of its classes, or there are no folders, the
    value is the agreement with the dense network.
    """
    pretrained = model in PRETRAINED
    prepared = preparation(str(model)) if pretrained else small_preparation()
    if pretrained and not subfolders(root):
        return _unlabelled(name, prepared, _without_classes(root, prepared))
    images = read_folders(root, prepared)
    if pretrained and not any(map(is_imagenet, images.classes)):
        return _unlabelled(name, prepared, images)
    outputs = imagenet_outputs(images.classes, str(model)) if pretrained else None
    class_names = dict(zip(IMAGENETTE, _IMAGENETTE_CLASSES, strict=True))
    names = tuple(class_names.get(folder, folder) for folder in images.classes)
    splits = (images.train, images.val, images.test)
    return Dataset(name, names, prepared.shape, *splits, outputs, notes=images.notes)


def _without_classes(root: Path, prepared: Preparation) -> ImageFolders:
    """The images in root, whatever their folders."""
    whole = _split(root, [(path, 0) for path in image_paths(root)], prepared)
    return _in_fifths((), whole)


def _unlabelled(name: str, prepared: Preparation, images: ImageFolders) -> Dataset:
    """Images without ImageNet's classes: what the dense network answers is the target."""
    note = (
        f"No folder of these images, such as {images.classes[0]!r}, has the name of a class of "
        "ImageNet, so the value is the agreement with the dense network."
        if images.classes
        else NO_CLASSES
    )
    return Dataset(
        name,
        imagenet_categories(),
        prepared.shape,
        images.train,
        images.val,
        images.test,
        task=TASKS["agreement"],
        notes=(note, *images.notes),
    )


def _image_folder(request: Request) -> Dataset:
    root = Path(os.environ.get(VARIABLE) or request.root / "imagefolder").expanduser()
    if not root.is_dir():
        raise DataMissing(
            f"There is no image folder at {root}. Set {VARIABLE} to a folder of images. {LAYOUT}"
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
        f"Set {VARIABLE} to a folder of images. {LAYOUT}",
        _image_folder,
    ),
)
