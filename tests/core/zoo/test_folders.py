"""Folders of images, one folder per class."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from pruning_core.types import DataMissing, PruningError, Split
from pruning_core.zoo import load_data, probe
from pruning_core.zoo.splits import FolderSplit, TensorSplit, stratified
from tests.core.toy import pictures


def write_images(root: Path, *folders: str, n: int = 4, size: tuple[int, int] = (40, 30)) -> None:
    """Writes n images per class folder. Each class has its own colour."""
    for number, folder in enumerate(folders):
        (root / folder).mkdir(parents=True)
        for i in range(n):
            Image.new("RGB", size, (40 * number, 200, 10 * i)).save(root / folder / f"{i}.png")


def in_files(split: Split) -> FolderSplit:
    assert isinstance(split, FolderSplit)
    return split


@pytest.fixture
def image_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRUNING_EXPLORER_IMAGES", str(tmp_path))
    return tmp_path


def test_folders_train_and_val_give_three_splits(image_root: Path) -> None:
    write_images(image_root, "train/cat", "train/dog", n=10)
    write_images(image_root, "val/cat", "val/dog", n=3)
    data = load_data("imagefolder")
    assert (len(data.train), len(data.val), len(data.test)) == (18, 2, 6)
    assert data.classes == ("cat", "dog")
    assert data.outputs is None
    batch = next(data.test.batches(6))
    x = pictures(batch)
    y = batch[1]
    assert x.shape == (6, *data.shape) == (6, 3, 32, 32)
    assert y.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.test.images([0, 5])[:, 0].amax((1, 2)).tolist() == pytest.approx(
        [0, 40 / 255], abs=1e-6
    )
    assert pictures(next(data.train.shuffled(4, 0, augment=True))).shape == (4, 3, 32, 32)


def test_class_folders_alone_are_split(image_root: Path) -> None:
    write_images(image_root, "a", "b", "c", n=10)
    data = load_data("imagefolder")
    assert (len(data.train), len(data.val), len(data.test)) == (18, 6, 6)
    assert data.test.labels.bincount().tolist() == [2, 2, 2]
    train, val, test = (in_files(part).paths for part in (data.train, data.val, data.test))
    assert not {*train} & {*val, *test}


def test_a_sample_of_image_files_is_in_memory(image_root: Path) -> None:
    write_images(image_root, "a", "b", n=10)
    test = load_data("imagefolder").train
    sample = probe(test, 6)
    assert isinstance(sample, TensorSplit)
    chosen = stratified(test.labels)[:6].tolist()
    expected = pictures(next(test.subset(chosen).batches(6)))
    assert torch.allclose(next(sample.batches(6))[0], expected, atol=1e-6)


def test_folders_train_val_and_test_are_the_splits(image_root: Path) -> None:
    for part, n in (("train", 5), ("val", 3), ("test", 2)):
        write_images(image_root, f"{part}/a", f"{part}/b", n=n)
    data = load_data("imagefolder")
    assert (len(data.train), len(data.val), len(data.test)) == (10, 6, 4)


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        ((), "no class folders"),
        (("train/a", "train/b"), "no 'val' folder"),
        (("only",), "single class 'only'"),
        (("train/a", "train/b", "val/a", "val/c"), "different classes"),
    ],
)
def test_folders_of_another_layout_are_refused(
    image_root: Path, folders: tuple[str, ...], words: str
) -> None:
    write_images(image_root, *folders)
    with pytest.raises(PruningError, match=words) as caught:
        load_data("imagefolder")
    assert str(image_root) in str(caught.value)


def test_an_unreadable_image_is_named(image_root: Path) -> None:
    write_images(image_root, "a", "b", n=5)
    path = image_root / "a" / "0.png"
    path.write_bytes(b"not an image")
    data = load_data("imagefolder")
    splits = (data.train, data.val, data.test)
    (split,) = (split for split in splits if str(path) in in_files(split).paths)
    with pytest.raises(PruningError, match=r"0\.png cannot be read"):
        list(split.batches(4))


def test_an_empty_class_folder_is_refused(image_root: Path) -> None:
    write_images(image_root, "a", "b", n=5)
    (image_root / "c").mkdir()
    with pytest.raises(PruningError, match="has no image"):
        load_data("imagefolder")


def test_an_absent_image_folder_is_named(image_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNING_EXPLORER_IMAGES", str(image_root / "nowhere"))
    with pytest.raises(DataMissing, match="nowhere"):
        load_data("imagefolder")


def test_too_few_images_are_refused(image_root: Path) -> None:
    write_images(image_root, "a", "b", n=1)
    with pytest.raises(PruningError, match="too few"):
        load_data("imagefolder")
