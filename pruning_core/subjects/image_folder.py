"""Images of a folder with one sub-folder per class, read as everywhere in this package."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch.utils import data as torch_data

from pruning_core.types import PruningError
from pruning_core.zoo.folders import class_folders, labelled_images
from pruning_core.zoo.image_files import ENDINGS, NOT_DATA, named_below, printable
from pruning_core.zoo.read_image import read_image


class ImageFiles(torch_data.Dataset[tuple[Any, int]]):
    """(transform of the picture, class number) of every image under folder/CLASS/.

    classes: names of the class folders, sorted; targets: class number of every image.
    """

    def __init__(self, folder: Path, transform: Callable[..., Any]) -> None:
        self.folder = folder
        self.transform = transform
        named = class_folders(folder)
        self.classes = list(named)
        self.samples = labelled_images(folder, named)
        self.targets = [number for _, number in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        path, number = self.samples[index]
        picture = read_image(path, shown=printable(path.relative_to(self.folder)))
        return self.transform(picture), number


def image_folder(folder: Path, name: str, transform: Callable[..., Any] | None) -> ImageFiles:
    """The images in a folder with one sub-folder per class.

    Raises PruningError for other folders, and without a transform: a guessed one would give other
    accuracies.
    """
    place = folder.expanduser()
    if not place.is_dir():
        raise PruningError(f"{name}= names the folder {folder}, which does not exist.")
    if transform is None:
        raise PruningError(
            f"{name}= is a folder of images: give transform=, the function from a PIL image to a "
            "tensor that the network was trained with."
        )
    with named_below(place, place.name or "of the images"):
        return ImageFiles(place, transform)


READER = '''\
import numpy as np
from PIL import Image


def eight_bits(image):
    """A grey picture of 16-bit or float values in 8 bits."""
    values = np.asarray(image)
    if image.mode == "F":
        assert values.min() >= 0 and values.max() <= 1, f"{image.filename}: not in [0, 1]"
        return Image.fromarray(np.round(values * 255).astype(np.uint8))
    tags = getattr(image, "tag_v2", {})
    white = (1 << tags.get(258, (16,))[0]) - 1  # bits per sample
    levels = np.round(np.linspace(0, 255, white + 1)).astype(np.uint8)
    levels = levels[::-1] if tags.get(262) == 0 else levels  # white is zero
    return Image.fromarray(levels[np.minimum(values, white)])


def picture(path):
    """The image as Pruning Explorer reads it: upright, 8 bits, without transparency."""
    image = Image.open(path)
    pixels = image.width * image.height
    if image.format in ("JPEG", "MPO"):  # large ones are decoded at a part of their size
        limit = 10_000_000 if image.info.get("progressive") else 20_000_000
        scale = next((scale for scale in (1, 2, 4) if pixels <= limit * scale**2), 8)
        if scale > 1:
            image.draft(image.mode, (image.width // scale, image.height // scale))
    image.load()
    turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}.get(image.getexif().get(0x0112, 1))
    if image.mode == "F" or image.mode.startswith("I"):
        image = eight_bits(image)
    elif image.mode != "RGB" and image.has_transparency_data:
        image = image.convert("RGBA")
    image = image.convert("RGB")
    return image if turn is None else image.transpose(Image.Transpose(turn))'''
"""Lines of an exported script that read an image file as `read_image`."""
SCRIPT = f"""\
import os
import unicodedata

{READER}


ENDINGS = {ENDINGS!r}
NOT_DATA = {sorted(NOT_DATA)!r}
"""
SCRIPT += '''

class Images:
    """The images under folder/CLASS/, class after class, sorted by path."""

    def __init__(self, folder):
        folder = os.path.expanduser(folder)
        places = [entry for entry in os.scandir(folder) if entry.is_dir() and is_data(entry.name)]
        places.sort(key=lambda entry: unicodedata.normalize("NFC", entry.name))
        self.samples = []
        for number, place in enumerate(places):
            found = []
            for root, folders, names in os.walk(place.path, followlinks=True):
                folders[:] = filter(is_data, folders)
                names = [name for name in names if name.lower().endswith(ENDINGS)]
                found += [Path(root, name) for name in filter(is_data, names)]
            self.samples += [(path, number) for path in sorted(found)]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        path, number = self.samples[i]
        return transform(picture(path)), number


def is_data(name):
    """Hidden files and folders of operating systems are no data."""
    return not name.startswith(".") and name.lower() not in NOT_DATA'''
"""Lines of an exported script that list and read the images of a folder as `ImageFiles`."""
