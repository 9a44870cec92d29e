"""Images as people have them: read right, or refused in one sentence."""

import os
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pruning_core.types import PruningError
from pruning_core.zoo import read_image as reading
from pruning_core.zoo.read_image import read_image

GREYS = np.array([[0, 64, 128, 255]] * 3, dtype=np.uint8)
"""A picture of 4 x 3 pixels: columns of four greys."""


def grey(change: Callable[[np.ndarray], np.ndarray] = lambda values: values) -> Image.Image:
    return Image.fromarray(change(GREYS.copy()))


def scaled(white: float, kind: type) -> Image.Image:
    return grey(lambda values: (values / 255 * white).round(6).astype(kind))


def big_endian() -> Image.Image:
    values = (GREYS.astype(np.uint16) * 257).astype(">u2")
    return Image.frombytes("I;16B", (4, 3), values.tobytes())


def palette(**transparency: Any) -> Image.Image:
    image = Image.fromarray(np.array([[0, 1, 2, 3]] * 3, dtype=np.uint8), "L").convert("P")
    image.putpalette([value for level in (0, 64, 128, 255) for value in (level,) * 3])
    image.info.update(transparency)
    return image


def turned(orientation: int) -> dict[str, Any]:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return {"exif": exif}


def twelve_bits(path: Path) -> None:
    """A TIFF of 12-bit values; Pillow writes none."""
    bits = "".join(f"{round(value / 255 * 4095):012b}" for row in GREYS for value in row)
    packed = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))
    tags = [(256, 4), (257, 3), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 3)]
    tags += [(279, len(packed))]
    start = 8 + len(packed)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    header = struct.pack("<2sHI", b"II", 42, start)
    path.write_bytes(header + packed + struct.pack("<H", len(tags)) + entries + b"\0" * 4)


def saved(image: Image.Image, name: str, **options: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        image.save(folder / name, **options)
        return folder / name

    return write


def white_is_zero(folder: Path) -> Path:
    image = grey(lambda values: ((255 - values.astype(np.uint16)) * 257).astype(np.uint16))
    image.save(folder / "inverted.tif", tiffinfo={262: 0})
    return folder / "inverted.tif"


def packed_tiff(folder: Path) -> Path:
    twelve_bits(folder / "x.tif")
    return folder / "x.tif"


COLOUR = grey().convert("RGB")
FRAMES = {"save_all": True, "append_images": [Image.new("L", (4, 3))]}
READ_RIGHT: dict[str, Callable[[Path], Path]] = {
    "8-bit grey": saved(grey(), "x.png"),
    "16-bit grey PNG": saved(scaled(65535, np.uint16), "x.png"),
    "16-bit grey TIFF": saved(scaled(65535, np.uint16), "x.tif"),
    "16-bit TIFF, big-endian": saved(big_endian(), "x.tif"),
    "16-bit TIFF, white is zero": white_is_zero,
    "12-bit TIFF": packed_tiff,
    "16-bit PGM": saved(scaled(65535, np.uint16), "x.pgm"),
    "float TIFF": saved(scaled(1, np.float32), "x.tif"),
    "palette": saved(palette(), "x.png"),
    "palette with a transparent colour": saved(palette(transparency=1), "x.png"),
    "palette with transparent colours": saved(palette(), "x.png", transparency=b"\xff\x00\x80"),
    "palette in a GIF": saved(palette(), "x.gif"),
    "grey with transparency": saved(grey().convert("LA"), "x.png"),
    "colour with transparency": saved(COLOUR.convert("RGBA"), "x.webp", lossless=True),
    "CMYK": saved(COLOUR.convert("CMYK"), "x.tif"),
    "the wrong ending": saved(grey(), "x.jpg", format="PNG"),
    "animated PNG": saved(grey(), "x.png", **FRAMES),
    "TIFF with two pages": saved(grey(), "x.tif", **FRAMES),
    "upside down": saved(COLOUR.rotate(180), "x.png", **turned(3)),
    "turned to the left": saved(COLOUR.transpose(Image.Transpose.ROTATE_90), "x.png", **turned(6)),
    "turned TIFF": saved(COLOUR.transpose(Image.Transpose.ROTATE_90), "x.tif", **turned(6)),
    "mirrored": saved(COLOUR.transpose(Image.Transpose.TRANSVERSE), "x.png", **turned(7)),
    "upside down, 16 bits": saved(scaled(65535, np.uint16).rotate(180), "x.png", **turned(3)),
}


def test_every_kind_is_read_right_in_colour_and_in_grey(tmp_path: Path) -> None:
    wrong = {}
    for kind, write in READ_RIGHT.items():
        for mode in ("RGB", "L"):
            image = read_image(write(tmp_path), mode)
            pixels = np.asarray(image).reshape(3, 4, -1)
            if image.mode != mode or np.abs(pixels - GREYS[:, :, None].astype(int)).max() > 1:
                wrong[kind, mode] = pixels[0, :, 0].tolist()
    assert not wrong


def test_one_bit_and_colour_jpegs_are_read(tmp_path: Path) -> None:
    bits = grey(lambda values: values >= 100)
    assert np.asarray(read_image(saved(bits, "x.png")(tmp_path)))[0, :, 0].tolist() == [
        0,
        0,
        255,
        255,
    ]
    Image.new("CMYK", (16, 16), (255, 0, 0, 0)).save(tmp_path / "x.jpg", quality=95)
    cyan = np.asarray(read_image(tmp_path / "x.jpg"))[8, 8].astype(int)
    assert np.abs(cyan - (0, 255, 255)).max() <= 12


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """A PNG of that size in its header."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        sum_ = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + sum_

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + b"".join(chunks)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def content(name: str, data: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return write


def truncated(folder: Path) -> Path:
    COLOUR.resize((64, 64)).save(folder / "whole.png")
    (folder / "half.png").write_bytes((folder / "whole.png").read_bytes()[:90])
    return folder / "half.png"


def special(make: Callable[[Path], None]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        make(folder / "special.png")
        return folder / "special.png"

    return write


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(path.parent)
        server.bind(path.name)


def huge_file(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate((100 << 20) + 1)


ALPHA = np.dstack([np.zeros((3, 4, 3), np.uint8), GREYS])
REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no image": (content("x.png", b"not an image"), "cannot be read (UnidentifiedImageError)"),
    "empty": (content("x.jpg", b""), "cannot be read"),
    "truncated": (truncated, "cannot be read"),
    "a bomb": (content("x.png", png(20_000, 20_000)), "400,000,000 pixels, more than 20 million"),
    "a large bomb": (content("x.png", png(9000, 9000)), "9000 x 9000 pixels, more than 20 million"),
    "a narrow picture": (content("x.png", png(1_000_000, 2)), "one side is more than 100 times"),
    "a huge header": (content("x.png", png(2**31 - 1, 2**31 - 1)), "pixels, more than 20 million"),
    "no width": (content("x.png", png(0, 5)), "cannot be read"),
    "a broken header": (content("x.png", png(5, 5)[:20]), "cannot be read"),
    "a broken TIFF": (content("x.tif", b"II*\0\xff\xff\xff\xff"), "cannot be read"),
    "a text bomb": (content("x.ppm", b"P5\n" + b"#" * 200 + b"\n4 4\n255\n"), "cannot be read"),
    "PostScript": (content("x.png", b"%!PS-Adobe-3.0 EPSF-3.0\n"), "cannot be read"),
    "float beyond 1": (saved(scaled(4, np.float32), "x.tif"), "from 0 to 4: save it with values"),
    "not a number": (saved(scaled(np.nan, np.float32), "x.tif"), "from nan to nan"),
    "32 bits": (saved(scaled(70000, np.int32), "x.tif"), "signed or 32-bit integers"),
    "only transparency": (saved(Image.fromarray(ALPHA), "x.png"), "only by its transparency"),
    "a pipe": (special(os.mkfifo), "no regular file"),
    "a folder": (special(os.mkdir), "no regular file"),
    "a socket": (special(listening), "cannot be read (No such device or address)"),
    "a device": (lambda _: Path(os.devnull), "no regular file"),
    "a huge file": (special(huge_file), "more than 100 MB"),
    "a link to nowhere": (special(lambda path: path.symlink_to("nothing")), "No such file"),
    "a link to itself": (special(lambda path: path.symlink_to(path.name)), "symbolic links"),
}


def test_every_other_kind_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wrong = {}
    for number, (kind, (write, words)) in enumerate(REFUSED.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = write(folder)
        try:
            read_image(path)
        except PruningError as error:
            text = str(error)
            if words not in text or str(path) not in text or "\n" in text:
                wrong[kind] = text
        else:
            wrong[kind] = "it was read"
    assert not wrong


def test_large_jpegs_are_decoded_at_a_smaller_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_PIXELS", 80 * 60)
    Image.new("RGB", (240, 100), (200, 30, 60)).save(tmp_path / "x.jpg", quality=95)
    image = read_image(tmp_path / "x.jpg")
    assert image.size == (60, 25)
    assert np.abs(np.asarray(image).astype(int) - (200, 30, 60)).max() <= 4
    Image.new("RGB", (240, 100)).save(tmp_path / "x.jpg", progressive=True)
    with pytest.raises(PruningError, match="in a progressive JPEG, more than"):
        read_image(tmp_path / "x.jpg")
