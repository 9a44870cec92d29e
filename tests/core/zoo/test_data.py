"""Splits, probes and data sets, on small files of the real layouts."""

import hashlib
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets as vision

from pruning_core.types import DataMissing, Dataset, PruningError, Split
from pruning_core.zoo import DATASETS, data_root, load_data, probe
from pruning_core.zoo.splits import shifted, stratified


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without a network."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


def write_idx(path: Path, array: np.ndarray) -> None:
    path.write_bytes(
        struct.pack(">HBB", 0, 8, array.ndim)
        + struct.pack(f">{array.ndim}I", *array.shape)
        + array.tobytes()
    )


@pytest.fixture
def mnist_root(tmp_path: Path) -> Path:
    """200 + 50 random pictures in the raw files of MNIST."""
    raw = tmp_path / "FashionMNIST" / "raw"
    rng = np.random.default_rng(0)
    raw.mkdir(parents=True)
    for name, n in (("train", 200), ("t10k", 50)):
        write_idx(
            raw / f"{name}-images-idx3-ubyte", rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        )
        write_idx(raw / f"{name}-labels-idx1-ubyte", (np.arange(n) % 10).astype(np.uint8))
    return tmp_path


@pytest.mark.parametrize("n", [1, 7, 30, 100, 500])
def test_every_prefix_of_a_stratified_order_keeps_the_shares(n: int) -> None:
    labels = torch.tensor([0] * 100 + [1] * 300 + [2] * 600)
    counts = labels[stratified(labels)[:n]].bincount(minlength=3)
    assert all(
        abs(count - n * share) <= 1
        for count, share in zip(counts.tolist(), (0.1, 0.3, 0.6), strict=True)
    )


def test_stratified_is_a_fixed_permutation() -> None:
    labels = torch.arange(50) % 4
    assert torch.equal(stratified(labels), stratified(labels))
    assert not torch.equal(stratified(labels), stratified(labels, 1))
    assert stratified(labels).sort().values.tolist() == list(range(50))


def test_digits_are_divided_into_fixed_parts_that_share_no_image(digits: Dataset) -> None:
    parts = [digits.train, digits.val, digits.test]
    assert [len(part) for part in parts] == [1079, 359, 359]
    assert all(isinstance(part, Split) for part in parts)
    assert all(part.labels.bincount().min() >= len(part) // 10 - 3 for part in parts)
    assert torch.equal(digits.test.x, load_data("digits").test.x)
    seen = torch.cat([part.x for part in parts]).flatten(1).double()
    assert seen.sum() == 561718  # the sum of all pixels of the set
    x = digits.train.images(range(len(digits.train)))
    assert (x.mean().item(), x.std().item()) == pytest.approx(
        (digits.train.mean[0], digits.train.std[0]), abs=5e-3
    )


def test_batches_are_normalised_and_pictures_are_not(digits: Dataset) -> None:
    x, y = next(digits.val.batches(20))
    pictures = digits.val.images(range(20))
    assert torch.allclose(x * digits.val.std[0] + digits.val.mean[0], pictures, atol=1e-6)
    assert pictures.min() == 0
    assert pictures.max() == 1
    assert torch.equal(y, digits.val.labels[:20])
    assert sum(len(y) for _, y in digits.val.batches(100)) == len(digits.val)


def test_an_epoch_is_a_fixed_order_of_full_batches(digits: Dataset) -> None:
    split = digits.val
    first, again, other = (list(split.shuffled(100, seed, augment=True)) for seed in (1, 1, 2))
    assert [len(y) for _, y in first] == [100, 100, 100]
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0][0], other[0][0])
    assert [len(y) for _, y in split.subset(range(30)).shuffled(100, 0)] == [30]


def test_shifts_and_mirrors_move_whole_pictures() -> None:
    x = torch.zeros(200, 1, 5, 5)
    x[:, 0, 2, 1] = 1
    moved = shifted(x, 1, True, torch.Generator().manual_seed(0))
    assert torch.equal(moved.sum((1, 2, 3)), torch.ones(200))
    places = {tuple(place) for place in moved[:, 0].nonzero()[:, 1:].tolist()}
    assert places == {(row, column) for row in (1, 2, 3) for column in range(5)}
    still = shifted(x, 0, False, torch.Generator().manual_seed(0))
    assert torch.equal(still, x)


def test_a_probe_is_fixed_and_begins_with_the_smaller_probe(digits: Dataset) -> None:
    small = probe(digits.test, 30)
    large = probe(digits.test, 100)
    assert torch.equal(small.x, large.x[:30])
    assert large.labels.bincount().tolist() == pytest.approx([10] * 10, abs=1)
    assert len(probe(digits.test, 9999)) == len(digits.test)
    with pytest.raises(PruningError, match="at least one"):
        probe(digits.test, 0)


def test_the_root_comes_from_the_setting_or_the_cache_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PRUNING_EXPLORER_DATA", str(tmp_path / "a"))
    assert data_root() == tmp_path / "a"
    assert data_root(tmp_path / "b") == tmp_path / "b"
    monkeypatch.delenv("PRUNING_EXPLORER_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_root() == tmp_path / "pruning-explorer"


def test_raw_files_are_read_and_a_tenth_validates(mnist_root: Path) -> None:
    data = load_data("fashion_mnist", root=mnist_root, download=False)
    assert (len(data.train), len(data.val), len(data.test)) == (180, 20, 50)
    assert data.val.labels.bincount().tolist() == [2] * 10
    assert data.classes[0] == "T-shirt/top"
    assert data.shape == (1, 28, 28)


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("fashion_mnist", "FashionMNIST"),
        ("mnist", "MNIST"),
        ("cifar10", "cifar-10"),
        ("imagenette", "imagenette2"),
    ],
)
@pytest.mark.parametrize("download", [True, False])
def test_missing_files_are_one_sentence(
    name: str, folder: str, download: bool, tmp_path: Path, offline: None
) -> None:
    with pytest.raises(DataMissing) as caught:
        load_data(name, root=tmp_path, download=download)
    said = str(caught.value)
    assert str(tmp_path) in said
    assert folder in said
    assert "PRUNING_EXPLORER_DATA" in said
    assert ("no route to host" in said) == download
    assert "\n" not in said


def test_damaged_files_are_told(mnist_root: Path) -> None:
    path = mnist_root / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(PruningError, match="damaged"):
        load_data("fashion_mnist", root=mnist_root, download=False)


def test_unknown_data_set() -> None:
    with pytest.raises(PruningError, match="did you mean 'digits'"):
        load_data("digit")


def test_every_entry_explains_itself() -> None:
    assert all(
        entry.label and entry.help.endswith(".") and entry.get.endswith(".")
        for entry in DATASETS.values()
    )


def test_cifar_pickles_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert next(data.test.batches(8))[0].shape == (8, 3, 32, 32)
    (folder / "data_batch_1").write_bytes(b"no")
    with pytest.raises(PruningError, match="damaged"):
        load_data("cifar10", root=tmp_path, download=False)
