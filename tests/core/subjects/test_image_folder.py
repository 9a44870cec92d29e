"""Folders of images of a subject: the same pixels in the program and in its exported script."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pruning_core.subjects.from_objects import workspace
from pruning_core.subjects.image_folder import SCRIPT, ImageFiles
from pruning_core.types import PruningError
from pruning_core.zoo.read_image import read_image
from tests.core.toy import is_sentence, refusal

COLOURS = np.arange(9 * 8 * 3, dtype=np.uint8).reshape(8, 9, 3)


def write_images(folder: Path) -> None:
    """Images whose colours torchvision's reader gets wrong, in two classes."""
    for name in ("cats/inner", "dogs", ".hidden"):
        (folder / name).mkdir(parents=True)
    plain = Image.fromarray(COLOURS)
    deep = np.linspace(0, 65535, 72).astype(np.uint16).reshape(8, 9)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(deep).save(folder / "cats" / "deep.png")
    Image.fromarray(deep).save(folder / "cats" / "deep.tif")
    Image.fromarray((deep / 65535).astype(np.float32)).save(folder / "dogs" / "float.tiff")
    plain.save(folder / "cats" / "turned.jpg", exif=turned)
    plain.convert("CMYK").save(folder / "dogs" / "cmyk.jpg")
    plain.convert("P").save(folder / "dogs" / "palette.png", transparency=3)
    plain.convert("LA").save(folder / "dogs" / "see_through.png")
    plain.convert("L").save(folder / "cats" / "inner" / "grey.webp", lossless=True)
    plain.convert("1").save(folder / "cats" / "inner.png")
    plain.save(folder / "dogs" / "._cmyk.jpg", "PNG")
    plain.save(folder / ".hidden" / "x.png")
    (folder / "dogs" / "notes.txt").write_text("no image")


def tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image.resize((9, 8)))).permute(2, 0, 1) / 255


def test_the_script_reads_the_same_pixels(tmp_path: Path) -> None:
    write_images(tmp_path)
    names = {"Path": Path, "transform": np.asarray}
    exec(SCRIPT, names)
    theirs = names["Images"](str(tmp_path))  # type: ignore[operator]
    ours = ImageFiles(tmp_path, np.asarray)
    assert ours.classes == ["cats", "dogs"]
    assert theirs.samples == ours.samples
    assert len(ours) == len(theirs) == 9
    wrong = []
    for at, (path, number) in enumerate(ours.samples):
        (pixels, label) = ours[at]
        (found, other) = theirs[at]
        same = np.array_equal(pixels, found) and np.array_equal(
            pixels, np.asarray(read_image(path))
        )
        if not same or (label, other) != (number, number):
            wrong.append(path.name)
    assert not wrong
    assert ours[ours.samples.index((tmp_path / "cats" / "turned.jpg", 0))][0].shape == (9, 8, 3)


def test_a_folder_of_all_splits_is_divided_and_broken_images_are_named(tmp_path: Path) -> None:
    for part in ("train", "valid", "test"):
        write_images(tmp_path / part)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(216, 2))
    space = workspace(network, train=str(tmp_path), transform=tensor)
    data = space.dataset
    assert (data.classes, len(data.train), len(data.val), len(data.test)) == (
        ("cats", "dogs"),
        9,
        9,
        9,
    )
    assert space.lines is not None
    assert space.lines.reading["test"].startswith("dataset = Images(given)")
    train = str(tmp_path)
    val = str(tmp_path / "valid")
    assert "give it alone" in refusal(lambda: workspace(network, train, val, transform=tensor))
    deep = np.full((8, 9), 1.5, np.float32)
    broken = {"dogs/a.tif": None, "dogs/b.png": b"no image"}
    for name, content in broken.items():
        path = tmp_path / "test" / name
        if content is None:
            Image.fromarray(deep).save(path)
        else:
            path.write_bytes(content)
        with pytest.raises(PruningError) as error:
            workspace(network, train=train, transform=tensor)
        assert is_sentence(str(error.value))
        assert f"The image {name} " in str(error.value)
        assert str(tmp_path) not in str(error.value)
        path.unlink()
    (tmp_path / "train" / "cats" / "gone.png").symlink_to(tmp_path / "nowhere")
    gone = refusal(lambda: workspace(network, train=train, transform=tensor))
    assert gone.startswith("The image cats/gone.png cannot be read")
