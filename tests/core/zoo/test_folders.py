"""Folders of images, one folder per class."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from PIL import Image

from pruning_core.tasks import TASKS
from pruning_core.types import DataMissing, PruningError, Split
from pruning_core.zoo import load_data, probe
from pruning_core.zoo.folders import SEEN_VAL, folder_data, read_images, small_preparation
from pruning_core.zoo.splits import FolderSplit, TensorSplit, stratified
from tests.cases import for_each
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


def test_missing_splits_are_made_from_the_training_images_and_named(image_root: Path) -> None:
    """Layout -> sizes of the three splits, and words of the note."""
    layouts = {
        ("train", "test"): ((18, 2, 6), "split is a tenth of the training images. If the network"),
        ("Train", "valid"): ((18, 2, 6), "folder valid is the test split. If the network"),
        ("training",): ((12, 4, 4), "a fifth of the images each. If the network was trained on"),
        ("train", "validation", "Test"): ((20, 6, 6), ""),
    }
    wrong = []
    for number, (parts, (sizes, words)) in enumerate(layouts.items()):
        root = image_root / str(number)
        for part in parts:
            n = 10 if part.lower().startswith("train") else 3
            write_images(root, f"{part}/a", f"{part}/b", n=n)
        data = folder_data("imagefolder", root, None)
        seen = (len(data.train), len(data.val), len(data.test))
        if seen != sizes or words not in " ".join(data.notes) or bool(data.notes) != bool(words):
            wrong.append((parts, seen, data.notes))
    assert not wrong


def test_classes_may_be_called_train_and_test(image_root: Path) -> None:
    write_images(image_root, "bus", "train", n=5)
    assert load_data("imagefolder").classes == ("bus", "train")
    write_images(image_root, "test", n=5)
    assert load_data("imagefolder").classes == ("bus", "test", "train")


def test_folders_train_val_and_test_are_the_splits(image_root: Path) -> None:
    for part, n in (("train", 5), ("val", 3), ("test", 2)):
        write_images(image_root, f"{part}/a", f"{part}/b", n=n)
    data = load_data("imagefolder")
    assert (len(data.train), len(data.val), len(data.test)) == (10, 6, 4)


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        ((), "no class folders"),
        (("val/a", "val/b"), "no 'train' folder"),
        (("train", "test"), "no class folders"),
        (("train/a", "train/b", "val/a", "val/b", "valid/a", "valid/b"), "the same split"),
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


def test_what_is_not_data_is_left_out(image_root: Path) -> None:
    """Files of macOS and Windows, hidden files, other files; names that are not ASCII."""
    write_images(image_root, "grün", "猫", "__MACOSX/猫", "@eaDir", ".cache/x", n=5)
    for name in ("._0.png", ".hidden.png", "Thumbs.db", ".DS_Store", "notes.txt", "desktop.ini"):
        (image_root / "grün" / name).write_bytes(b"no image")
    data = load_data("imagefolder")
    assert data.classes == ("grün", "猫")
    assert len(data.train) + len(data.val) + len(data.test) == 10
    read = torch.cat([pictures(b) for split in (data.train, data.test) for b in split.batches(4)])
    assert read.isfinite().all()


def test_images_beside_class_folders_are_noted(image_root: Path) -> None:
    write_images(image_root, "train/cat", "train/dog", n=10)
    write_images(image_root, "test/cat", "test/dog", n=3)
    assert load_data("imagefolder").notes == (
        "The validation split is a tenth of the training images.",
        SEEN_VAL,
    )
    for name in ("train/a.png", "train/._b.png", "train/notes.txt", "test/c.JPG", "d.png"):
        (image_root / name).write_bytes(b"no image")
    assert load_data("imagefolder").notes[2:] == (
        "Images that lie beside the class folders are not used (3, such as d.png): move them into "
        "class folders.",
    )


def test_images_beside_a_single_folder_are_read_with_its_own(tmp_path: Path) -> None:
    write_images(tmp_path, "all", n=5)
    assert not read_images(tmp_path, small_preparation()).classes
    for number in range(5):
        (tmp_path / "all" / f"{number}.png").rename(tmp_path / f"{number}.png")
    write_images(tmp_path, "all/more", n=5)
    found = read_images(tmp_path, small_preparation())
    assert (found.classes, len(found.train), len(found.val), len(found.test)) == ((), 6, 2, 2)


def test_accents_in_two_spellings_are_one_class(image_root: Path) -> None:
    """macOS stores names decomposed, Linux as they were typed."""
    write_images(image_root, "train/e\u0301te\u0301", "train/sun", n=6)
    write_images(image_root, "test/\u00e9t\u00e9", "test/sun", n=3)
    assert load_data("imagefolder").classes == ("sun", "\u00e9t\u00e9")


def test_names_that_are_not_utf8_can_be_shown(image_root: Path) -> None:
    write_images(image_root, "a", n=5)
    odd = os.fsdecode(os.fsencode(image_root) + b"/b\xff")
    write_images(Path(odd), "", n=5)
    data = load_data("imagefolder")
    assert data.classes == ("a", "b\\xff")
    assert len(list(data.train.batches(3))) == 2


def test_many_classes_are_read_at_once(image_root: Path) -> None:
    (image_root / "picture.png").write_bytes(b"")
    for number in range(600):
        folder = image_root / f"{number:04}"
        folder.mkdir()
        for copy in range(3):
            (folder / f"{copy}.png").touch()
    data = load_data("imagefolder")
    assert len(data.classes) == 600
    assert len(data.train) == 1080


def linked(root: Path, link: str, target: str) -> None:
    (root / link).symlink_to(root / target, target_is_directory=True)


def test_links_are_followed_once(
    image_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    write_images(image_root, "a", "b", n=5)
    outside = tmp_path_factory.mktemp("outside")
    write_images(outside, "more", n=3)
    (image_root / "a" / "more").symlink_to(outside / "more")
    linked(image_root, "a/nothing", "a/nothing")
    data = load_data("imagefolder")
    assert len(data.train) + len(data.val) + len(data.test) == 13


@for_each(["a/loop -> a", "a/root -> .", "a/other -> b", "a/x.png -> missing.png"])
def test_links_that_lead_back_or_nowhere_are_refused(link: str) -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        write_images(root, "a", "b", n=5)
        linked(root, *link.split(" -> "))
        with pytest.raises(PruningError, match=r"remove (the link|it)"):
            folder_data("imagefolder", root, None)


def test_a_pipe_with_the_name_of_an_image_is_refused(image_root: Path) -> None:
    write_images(image_root, "a", "b", n=5)
    os.mkfifo(image_root / "a" / "x.png")
    with pytest.raises(PruningError, match=r"x\.png has the name of an image"):
        load_data("imagefolder")


def test_a_folder_that_may_not_be_read_is_named(
    image_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(image_root, "a", "b", n=5)

    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pruning_core.zoo.image_files.os.scandir", refused)
    with pytest.raises(PruningError, match=r"cannot be read \(Permission denied\)"):
        load_data("imagefolder")


def test_images_without_classes_of_imagenet_have_the_dense_answers_as_targets(
    tmp_path: Path,
) -> None:
    """A flat folder, and folders of other classes; one class of ImageNet asks for the rest."""
    write_images(tmp_path, "flat", n=10)
    write_images(tmp_path / "classes", "shirt", "coat", n=5)
    for folder, why in (("flat", "not in class folders"), ("classes", "such as 'coat'")):
        data = folder_data("imagefolder", tmp_path / folder, "resnet18")
        assert data.task is TASKS["agreement"]
        assert (len(data.train), len(data.val), len(data.test)) == (6, 2, 2)
        assert data.outputs is None
        assert (len(data.classes), data.classes[0]) == (1000, "tench")
        assert why in data.notes[0]
        assert "agreement with the dense network" in data.notes[0]
        x, _ = next(data.train.batches(2))
        assert isinstance(x, torch.Tensor)
        assert x.shape == (2, 3, 224, 224)
    write_images(tmp_path / "classes", "tench", n=5)
    with pytest.raises(PruningError, match="'coat' is none of them"):
        folder_data("imagefolder", tmp_path / "classes", "resnet18")
    with pytest.raises(PruningError, match="no class folders"):
        folder_data("imagefolder", tmp_path / "flat", None)
