"""Data sets in memory, read from small files in their real formats."""

import hashlib
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets as vision

from pruning_core.types import Dataset, PruningError, Split
from pruning_core.zoo import DATASETS, load_data
from pruning_core.zoo.splits import stratified
from tests.core.toy import in_memory, pictures


def write_idx(path: Path, array: np.ndarray) -> None:
    path.write_bytes(
        struct.pack(">HBB", 0, 8, array.ndim)
        + struct.pack(f">{array.ndim}I", *array.shape)
        + array.tobytes()
    )


def write_fashion(root: Path) -> None:
    """200 + 50 random images in the raw files of Fashion-MNIST."""
    raw = root / "FashionMNIST" / "raw"
    rng = np.random.default_rng(0)
    raw.mkdir(parents=True)
    for name, n in (("train", 200), ("t10k", 50)):
        write_idx(
            raw / f"{name}-images-idx3-ubyte", rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        )
        write_idx(raw / f"{name}-labels-idx1-ubyte", (np.arange(n) % 10).astype(np.uint8))


@pytest.fixture
def mnist_root(tmp_path: Path) -> Path:
    write_fashion(tmp_path)
    return tmp_path


def test_the_splits_of_digits_are_fixed_and_share_no_image(digits: Dataset) -> None:
    parts = [digits.train, digits.val, digits.test]
    assert [len(part) for part in parts] == [1079, 359, 359]
    assert all(isinstance(part, Split) for part in parts)
    assert all(part.labels.bincount().min() >= len(part) // 10 - 3 for part in parts)
    assert torch.equal(in_memory(digits.test).x, in_memory(load_data("digits").test).x)
    from sklearn.datasets import load_digits  # slow to import

    raw = load_digits()
    order = stratified(torch.from_numpy(raw.target))
    places = dict(
        zip((digits.test, digits.val, digits.train), order.split([359, 359, 1079]), strict=True)
    )
    for part, chosen in places.items():
        assert np.array_equal(in_memory(part).x.squeeze(1), raw.images[chosen])
        assert np.array_equal(part.labels, raw.target[chosen])
    x = digits.train.images(range(len(digits.train)))
    train = in_memory(digits.train)
    assert (x.mean().item(), x.std().item()) == pytest.approx(
        (train.mean[0], train.std[0]), abs=5e-3
    )


def test_a_tenth_of_the_training_files_is_the_validation_split(mnist_root: Path) -> None:
    data = load_data("fashion_mnist", root=mnist_root, download=False)
    assert (len(data.train), len(data.val), len(data.test)) == (180, 20, 50)
    assert data.val.labels.bincount().tolist() == [2] * 10
    assert data.classes[0] == "T-shirt/top"
    assert data.shape == (1, 28, 28)


def test_files_are_read_as_torchvision_reads_them(mnist_root: Path) -> None:
    data = load_data("fashion_mnist", root=mnist_root, download=False)
    test = vision.FashionMNIST(str(mnist_root), train=False)
    assert torch.equal(in_memory(data.test).x.squeeze(1), test.data)
    assert torch.equal(data.test.labels, test.targets)
    assert list(data.classes) == vision.FashionMNIST.classes
    (mnist_root / "FashionMNIST").rename(mnist_root / "MNIST")
    numerals = load_data("mnist", root=mnist_root, download=False)
    assert list(numerals.classes) == vision.MNIST.classes


@pytest.mark.parametrize("length", [0, 3, 10, 1000])
def test_damaged_files_are_refused(mnist_root: Path, length: int) -> None:
    path = mnist_root / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(PruningError, match=r"damaged \(train-images-idx3-ubyte does not"):
        load_data("fashion_mnist", root=mnist_root, download=False)


def test_images_without_a_class_are_refused(mnist_root: Path) -> None:
    path = mnist_root / "FashionMNIST" / "raw" / "train-labels-idx1-ubyte"
    write_idx(path, np.zeros(199, np.uint8))
    with pytest.raises(PruningError, match="200 images have 199 classes"):
        load_data("fashion_mnist", root=mnist_root, download=False)


def test_the_pickles_of_cifar_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    rng = np.random.default_rng(0)
    folder.mkdir()
    for name in ("data_batch_1", "test_batch"):
        entry = {
            "data": rng.integers(0, 256, (40, 3072), dtype=np.uint8),
            "labels": [i % 10 for i in range(40)],
        }
        (folder / name).write_bytes(pickle.dumps(entry))
    (folder / "batches.meta").write_bytes(
        pickle.dumps({"label_names": list(DATASETS["cifar10"].classes)})
    )

    def listed(name: str) -> list[str]:
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    monkeypatch.setattr(vision.CIFAR10, "train_list", [listed("data_batch_1")])
    monkeypatch.setattr(vision.CIFAR10, "test_list", [listed("test_batch")])
    monkeypatch.setattr(
        vision.CIFAR10, "meta", {**vision.CIFAR10.meta, "md5": listed("batches.meta")[1]}
    )
    data = load_data("cifar10", root=tmp_path, download=False)
    assert (len(data.train), len(data.val), len(data.test)) == (36, 4, 40)
    assert data.classes == DATASETS["cifar10"].classes
    assert pictures(next(data.test.batches(8))).shape == (8, 3, 32, 32)
    (folder / "data_batch_1").write_bytes(b"no")
    with pytest.raises(PruningError, match="damaged"):
        load_data("cifar10", root=tmp_path, download=False)
