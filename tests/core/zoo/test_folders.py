"""Image folders of any layout, and downloads from a server on this machine."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from pruning_core.types import DataMissing, PruningError
from pruning_core.zoo import load_data, probe
from pruning_core.zoo.fetch import fetch
from pruning_core.zoo.splits import TensorSplit, stratified


def paint(root: Path, *folders: str, n: int = 4, size: tuple[int, int] = (40, 30)) -> None:
    """n pictures of one colour per class folder; the colour is the class."""
    for number, folder in enumerate(folders):
        (root / folder).mkdir(parents=True)
        for i in range(n):
            Image.new("RGB", size, (40 * number, 200, 10 * i)).save(root / folder / f"{i}.png")


@pytest.fixture
def image_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRUNING_EXPLORER_IMAGES", str(tmp_path))
    return tmp_path


def test_an_image_folder_with_train_and_val(image_root: Path) -> None:
    paint(image_root, "train/cat", "train/dog", n=10)
    paint(image_root, "val/cat", "val/dog", n=3)
    data = load_data("imagefolder")
    assert (len(data.train), len(data.val), len(data.test)) == (18, 2, 6)
    assert data.classes == ("cat", "dog")
    assert data.outputs is None
    x, y = next(data.test.batches(6))
    assert x.shape == (6, *data.shape) == (6, 3, 32, 32)
    assert y.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.test.images([0, 5])[:, 0].amax((1, 2)).tolist() == pytest.approx(
        [0, 40 / 255], abs=1e-6
    )
    assert next(data.train.shuffled(4, 0, augment=True))[0].shape == (4, 3, 32, 32)


def test_class_folders_alone_are_divided(image_root: Path) -> None:
    paint(image_root, "a", "b", "c", n=10)
    data = load_data("imagefolder")
    assert (len(data.train), len(data.val), len(data.test)) == (18, 6, 6)
    assert data.test.labels.bincount().tolist() == [2, 2, 2]
    assert not {*data.train.paths} & {*data.val.paths, *data.test.paths}


def test_a_probe_of_files_is_held_in_memory(image_root: Path) -> None:
    paint(image_root, "a", "b", n=10)
    test = load_data("imagefolder").train
    held = probe(test, 6)
    assert isinstance(held, TensorSplit)
    chosen = stratified(test.labels)[:6]
    assert torch.allclose(
        next(held.batches(6))[0], next(test.subset(chosen).batches(6))[0], atol=1e-6
    )


def test_three_folders_are_taken_as_they_are(image_root: Path) -> None:
    for part, n in (("train", 5), ("val", 3), ("test", 2)):
        paint(image_root, f"{part}/a", f"{part}/b", n=n)
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
def test_folders_that_do_not_fit_are_told(
    image_root: Path, folders: tuple[str, ...], words: str
) -> None:
    paint(image_root, *folders)
    with pytest.raises(PruningError, match=words) as caught:
        load_data("imagefolder")
    assert str(image_root) in str(caught.value)


def test_empty_and_unreadable_and_absent_images_are_told(
    image_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(image_root, "a", "b", n=5)
    (image_root / "a" / "0.png").write_bytes(b"no picture")
    data = load_data("imagefolder")
    broken = next(
        part
        for part in (data.train, data.val, data.test)
        if str(image_root / "a" / "0.png") in part.paths
    )
    with pytest.raises(PruningError, match=r"0\.png cannot be read"):
        list(broken.batches(4))
    (image_root / "c").mkdir()
    with pytest.raises(PruningError, match="holds no image"):
        load_data("imagefolder")
    monkeypatch.setenv("PRUNING_EXPLORER_IMAGES", str(image_root / "nowhere"))
    with pytest.raises(DataMissing, match="nowhere"):
        load_data("imagefolder")


def test_too_few_images_to_divide(image_root: Path) -> None:
    paint(image_root, "a", "b", n=1)
    with pytest.raises(PruningError, match="too few"):
        load_data("imagefolder")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A file server on this machine; gives its address."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "file.bin").write_bytes(b"x" * 600_000)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, directory=str(tmp_path / "served"), **kwargs)

        def log_message(self, *_: object) -> None:
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()
    thread.join()


def test_a_download_is_checked_and_tells_its_progress(server: str, tmp_path: Path) -> None:
    seen = []
    target = tmp_path / "got" / "file.bin"
    fetch(
        f"{server}/file.bin",
        target,
        "sha256",
        hashlib.sha256(b"x" * 600_000).hexdigest()[:8],
        lambda *p: seen.append(p),
    )
    assert target.read_bytes() == b"x" * 600_000
    assert seen[-1] == (1.0, "file.bin")
    assert [p for p, _ in seen] == sorted(p for p, _ in seen)
    seen.clear()
    fetch(
        f"{server}/file.bin",
        target,
        "md5",
        hashlib.md5(b"x" * 600_000).hexdigest(),
        lambda *p: seen.append(p),
    )
    assert not seen  # it is there
    target.write_bytes(b"half")
    fetch(f"{server}/file.bin", target, "md5", hashlib.md5(b"x" * 600_000).hexdigest())
    assert target.stat().st_size == 600_000
    with pytest.raises(PruningError, match="damaged"):
        fetch(f"{server}/file.bin", tmp_path / "got" / "other.bin", "md5", "0000")
    with pytest.raises(OSError, match="404"):
        fetch(f"{server}/none", tmp_path / "got" / "none", "md5", "")
    assert [path.name for path in target.parent.iterdir()] == ["file.bin"]
