"""Uploads in the data folder: stored whole, opened by name, listed for their owner alone."""

import io
import stat
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pruning_core.types import Dataset, PruningError
from pruning_core.zoo import load_data, load_model
from pruning_core.zoo.models import ARCHITECTURES
from pruning_core.zoo.uploads import (
    ImagesCard,
    InputTransform,
    NetworkCard,
    Statement,
    archives,
    find_upload,
    has_upload,
    network_masks,
    store_images,
    store_network,
    uploads,
)
from tests.core.toy import pictures
from tests.core.zoo.uploads.files import TRANSFORM, flowers, network, pt, zipped


def open_network(name: str) -> tuple[nn.Module, Dataset, NetworkCard, dict[str, Tensor]]:
    """The network, its data, its card and its masks."""
    data = load_data(find_upload(name, NetworkCard)[1].dataset, model=name)
    model = load_model(name, data.name, data)
    return model, data, find_upload(name, NetworkCard)[1], network_masks(name)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRUNING_EXPLORER_DATA", str(tmp_path))
    return tmp_path / "uploads"


def names(owner: str | None) -> list[str]:
    return [stored.name for stored in uploads(owner)]


def stored_network(classes: int = 3, masks: bytes | None = None) -> str:
    images = store_images(zipped(flowers()), "My flowers.zip", "me").name
    asked = Statement("vgg", images, TRANSFORM)
    return store_network(pt(network(classes).state_dict()), "best.pt", asked, "me", masks).name


def test_a_network_and_its_images_are_opened_by_name(folder: Path) -> None:
    name = stored_network()
    assert name.startswith("vgg@")
    model, data, card, masks = open_network(name)
    assert (data.name[:11], data.classes, data.outputs) == ("my-flowers@", ("a", "b", "c"), None)
    assert data.shape == (3, 8, 8)
    assert [len(data.train), len(data.val), len(data.test)] == [9, 3, 3]
    assert "a fifth of the images each" in data.notes[0]
    assert (card.classes, card.file, masks) == (3, "best.pt", {})
    x = pictures(next(data.test.batches(3)))
    with torch.no_grad():
        assert torch.equal(model(x), network()(x))
    raw = data.test.images([0]).mean((0, 2, 3)) - torch.tensor(TRANSFORM.mean)
    assert torch.allclose(x[0].mean((1, 2)), raw / torch.tensor(TRANSFORM.std), atol=1e-5)
    assert not list(folder.glob(".partial*"))


def test_the_same_upload_twice_is_stored_once_and_listed_for_both_owners(folder: Path) -> None:
    first = stored_network()
    assert stored_network() == first
    other = store_images(zipped(flowers(6)), "mine.zip", "you").name
    assert names("you") == [other]
    assert first in names("me")
    assert other not in names("me")
    assert names("nobody") == []
    assert len(names(None)) == len(list(folder.glob("[0-9a-f]*"))) == 3
    store_images(zipped(flowers(6)), "mine.zip", "me")
    assert other in names("me")


def test_an_unknown_name_is_refused_without_naming_another() -> None:
    name = stored_network()
    for wrong in ("vgg@000000", name[:-1] + "g", "../" + name, name.replace("vgg", "resnet18")):
        assert not has_upload(wrong, NetworkCard)
        with pytest.raises(PruningError) as caught:
            open_network(wrong)
        assert name not in str(caught.value).replace(wrong, "")
    assert not has_upload(name, ImagesCard)


def test_damaged_weights_are_refused() -> None:
    name = stored_network()
    weights = find_upload(name, NetworkCard)[0] / "weights.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-4] + b"\0\0\0\1")
    with pytest.raises(PruningError, match=r"stored weights of vgg@.* are damaged"):
        open_network(name)


def test_nothing_is_left_of_a_refused_upload(folder: Path) -> None:
    images = store_images(zipped(flowers()), "x.zip", "me").name
    state = network(4).state_dict()
    for asked, words in (
        (
            Statement("vgg", images, TRANSFORM),
            "4 outputs and the images have 3 classes: give the class",
        ),
        (Statement("vgg", images, TRANSFORM, ("a", "b", "c")), "3 different class names"),
        (
            Statement("vgg", images, TRANSFORM, tuple("abxy")),
            "have the class 'c', which is none",
        ),
        (Statement("vgg", "tea@000000", TRANSFORM), "no upload 'tea@000000'"),
        (Statement("vgg", "tea", TRANSFORM), "no data set 'tea'"),
        (Statement("vgg", "digits", TRANSFORM), "digits has images of 1 x 8 x 8"),
        (Statement("vggg", images, TRANSFORM), "did you mean 'vgg'"),
    ):
        with pytest.raises(PruningError, match=words):
            store_network(pt(state), "x.pt", asked, "me")
    assert names("me") == [images]
    assert len(list(folder.glob("[!.]*"))) == 1


def test_fewer_outputs_than_classes_ask_for_other_images() -> None:
    """No names of outputs could help."""
    images = store_images(zipped(flowers(classes="abcde")), "x.zip", "me").name
    with pytest.raises(PruningError, match="have 5 classes: it needs images of the classes that"):
        store_network(
            pt(network(4).state_dict()), "x.pt", Statement("vgg", images, TRANSFORM), "me"
        )


def test_class_names_say_which_output_is_which() -> None:
    images = store_images(zipped(flowers()), "x.zip", "me").name
    asked = Statement("vgg", images, TRANSFORM, ("d", "c", "a", "b"))
    name = store_network(pt(network(4).state_dict()), "x.pt", asked, "me").name
    assert open_network(name)[1].outputs == (2, 3, 1)


def test_images_of_the_server_get_the_stated_normalisation() -> None:
    grey = InputTransform(1, 8, 8, 8, (0.3,), (0.2,))
    state = ARCHITECTURES["vgg"].build((1, 8, 8), 10).state_dict()
    name = store_network(pt(state), "x.pt", Statement("vgg", "digits", grey), "me").name
    mine = open_network(name)[1].test
    own = load_data("digits").test
    assert torch.allclose(pictures(next(mine.batches(5))), (own.images(range(5)) - 0.3) / 0.2)


def test_masks_start_the_network_from_zeros() -> None:
    keep = torch.rand(64, 32, 3, 3, generator=torch.Generator().manual_seed(0)) > 0.5
    arrays = io.BytesIO()
    values: dict[str, Any] = {"block2.conv.weight": keep.numpy(), "plan": np.array("{}")}
    np.savez_compressed(arrays, **values)
    pruned = {"module.block2.conv.weight_mask": keep.float()}
    pruned |= {"module.block2.conv.weight_orig": torch.ones(64, 32, 3, 3)}
    alone = {"block2.conv.weight_mask": keep.float()}
    wrapped = {"module.block2.conv.weight": keep}
    kinds = ({"block2.conv.weight": keep}, pruned, alone, wrapped)
    for masks in (arrays.getvalue(), *map(pt, kinds)):
        model, *_, found = open_network(stored_network(masks=masks))
        assert torch.equal(found["block2.conv.weight"], keep)
        expected = network().get_parameter("block2.conv.weight") * keep
        assert torch.equal(model.get_parameter("block2.conv.weight"), expected)


def header_only(shape: tuple[int, ...]) -> bytes:
    """An array whose header states more than the file holds."""
    buffer = io.BytesIO()
    header = {"descr": "|b1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return zipped({"fc.weight.npy": buffer.getvalue()})


def test_other_masks_are_refused() -> None:
    wrong = {}
    for kind, (masks, words) in {
        "of another network": (pt({"layer.weight": torch.ones(2)}), "network has no 'layer.weight"),
        "of another shape": (pt({"fc.weight": torch.ones(2)}), "has the shape (2,)"),
        "scores": (pt({"fc.weight": torch.rand(3, 128)}), "other numbers than 0 and 1"),
        "nothing": (pt({"epoch": 3}), "has no masks"),
        "an array bomb": (header_only((10**9, 10**6)), "fc.weight is larger than its file"),
    }.items():
        try:
            stored_network(masks=masks)
        except PruningError as error:
            if words not in str(error):
                wrong[kind] = str(error)
        else:
            wrong[kind] = "it was stored"
    assert not wrong


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"channels": 2}, "1 or 3 channels"),
        ({"height": 0}, "outside 1 to 1024"),
        ({"width": 5000}, "outside 1 to 1024"),
        ({"resize": 7}, "at least as long"),
        ({"mean": (0.5,)}, "there are 1 and 3"),
        ({"mean": (0.5, 0.5, float("nan"))}, "not a finite number"),
        ({"std": (0.5, 0.0, 0.5)}, "above 0"),
        ({"interpolation": "magic"}, "no interpolation 'magic'"),
    ],
)
def test_an_impossible_transform_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(PruningError, match=words):
        replace(TRANSFORM, **change)  # type: ignore[arg-type]


def layout(*parts: str) -> dict[str, bytes]:
    return {name: content for part in parts for name, content in flowers(4, f"{part}/").items()}


def test_zips_of_every_usual_layout_are_unpacked() -> None:
    extra = {
        "__MACOSX/flowers/a/._0.png": b"mac",
        "flowers/a/._0.png": b"mac",
        "flowers/.DS_Store": b"mac",
        "flowers/readme.txt": b"text",
        "flowers/a/": b"",
    }
    sizes = {}
    for kind, files in {
        "one folder around": flowers() | extra,
        "classes alone": flowers(5, ""),
        "train and test": layout("train", "test"),
        "two folders around": layout("data/set/train", "data/set/val", "data/set/test"),
        "train alone": flowers(5, "train/"),
        "packed by Windows": {
            name.replace("/", "\\"): content for name, content in flowers().items()
        },
    }.items():
        sizes[kind] = store_images(zipped(files), "x.zip", "me").card.summary[:60]  # type: ignore[union-attr]
    assert {kind: text.partition(" images")[0] for kind, text in sizes.items()} == {
        "one folder around": "3 classes; 9 training, 3 validation, 3 test",
        "classes alone": "3 classes; 9 training, 3 validation, 3 test",
        "train and test": "3 classes; 11 training, 1 validation, 12 test",
        "two folders around": "3 classes; 12 training, 12 validation, 12 test",
        "train alone": "3 classes; 9 training, 3 validation, 3 test",
        "packed by Windows": "3 classes; 9 training, 3 validation, 3 test",
    }


def test_names_that_are_not_ascii_are_kept() -> None:
    card = store_images(zipped(flowers(5, "", "äб猫")), "Blümchen 🌷.zip", "me")
    assert card.name.startswith("bl-mchen@")
    asked = Statement("vgg", card.name, TRANSFORM)
    name = store_network(pt(network().state_dict()), "x.pt", asked, "me").name
    assert open_network(name)[1].classes == ("ä", "б", "猫")


def with_entry(name: str, attributes: int = 0, flags: int = 0) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for each, content in flowers().items():
            archive.writestr(each, content)
        entry = zipfile.ZipInfo(name)
        entry.external_attr = attributes << 16
        archive.writestr(entry, b"\x89PNG")
    content = buffer.getvalue()
    at = content.rindex(b"PK\x01\x02")
    return content[: at + 8] + struct.pack("<H", flags) + content[at + 10 :]


def lying() -> bytes:
    """An entry that unpacks to more than it says."""
    packed = zipped({"a/0.png": b"\0" * 100_000, "b/0.png": b""}, zipfile.ZIP_DEFLATED)
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = packed.index(mark) + offset
        packed = packed[:at] + struct.pack("<I", 10) + packed[at + 4 :]
    return packed


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "no zip": (lambda: b"no zip", "zip file is damaged"),
    "half a zip": (lambda: zipped(flowers())[:-30], "zip file is damaged"),
    "no images": (lambda: zipped({"a.txt": b""}), "has no images"),
    "up and out": (lambda: with_entry("../x.png"), "leads out of its folder"),
    "from the root": (lambda: with_entry("/etc/x.png"), "leads out of its folder"),
    "with a drive": (lambda: with_entry("C:/x.png"), "leads out of its folder"),
    "with backslashes": (lambda: with_entry("..\\x.png"), "leads out of its folder"),
    "a link": (lambda: with_entry("a/x.png", stat.S_IFLNK | 0o777), "is a link"),
    "a device": (lambda: with_entry("a/x.png", stat.S_IFCHR | 0o777), "is a link or no regular"),
    "a password": (lambda: with_entry("a/x.png", 0, 1), "has a password"),
    "deep": (lambda: with_entry("a/" * 9 + "x.png"), "a name that is too long"),
    "a long name": (lambda: with_entry("é" * 150 + ".png"), "a name that is too long"),
    "no picture": (lambda: with_entry("a/x.png"), "image a/x.png cannot be read"),
    "bzip2": (lambda: zipped(flowers(), zipfile.ZIP_BZIP2), "another method than deflate"),
    "a bomb": (
        lambda: zipped({"a/0.png": b"\0" * 3_000_000}, zipfile.ZIP_DEFLATED),
        "the images have 2 MB: at most 1 MB",
    ),
    "more than it says": (lying, "zip file is damaged"),
    "many images": (lambda: zipped(flowers(20)), "has 60 images: at most 50"),
    "labels in a table": (
        lambda: zipped({f"x/{n}": png for n, png in flowers(5, "", "a").items()} | {"l.csv": b""}),
        "labels in a table (l.csv) are not read here",
    ),
    "other classes": (
        lambda: zipped(layout("train") | flowers(3, "test/", "abd")),
        "different classes",
    ),
    "few images": (lambda: zipped(flowers(1, "", "ab")), "too few"),
}


def test_other_zips_are_refused_in_one_sentence_and_leave_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_UNPACKED", 1 << 20)
    monkeypatch.setattr(archives, "MAX_IMAGES", 50)
    wrong = {}
    for kind, (make, words) in REFUSED.items():
        try:
            store_images(make(), "x.zip", "me")
        except PruningError as error:
            if words not in str(error) or "\n" in str(error) or str(folder) in str(error):
                wrong[kind] = str(error)
        else:
            wrong[kind] = "it was stored"
    assert not wrong
    assert not list(folder.iterdir())
