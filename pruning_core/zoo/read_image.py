"""One image file as a picture of 8-bit colours, or one sentence why it cannot be read."""

import os
import re
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import Image

from pruning_core.types import PruningError
from pruning_core.zoo.image_files import printable

Result = TypeVar("Result")
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "AVIF")
"""Formats that are read, whatever the file's ending: no format that runs another program."""
MAX_PIXELS = 20_000_000
"""The largest picture that is decoded. It and its copies stay below 200 MB."""
MAX_PIXELS_OF = {"WEBP": 12_400_000, "AVIF": 10_000_000}
"""Formats whose decoders need several buffers of a picture."""
MAX_BYTES = 100 << 20
"""The largest image file."""
MAX_ASPECT = 100
"""Width by height, or height by width. A narrow picture becomes huge when it is resized."""
STRIP = 1 << 20
"""Pixels that are converted at once."""
UNREADABLE = (
    OSError,
    SyntaxError,  # of Pillow, for broken headers
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    EOFError,
    MemoryError,
    RuntimeError,
    struct.error,
    Image.DecompressionBombWarning,
    UserWarning,
)
"""What Pillow raises for damaged files. Warnings are raised only where Python treats them so."""
ORIENTATION = 0x0112
"""The EXIF tag that says how the camera was held."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
BITS_PER_SAMPLE = 258
PHOTOMETRIC = 262


def read_image(path: str | Path, mode: str = "RGB", shown: str = "") -> Image.Image:
    """The picture of an image file, upright, in the mode RGB or L (grey).

    shown: what an error calls the file, its path if nothing is said.

    16-bit values are divided by the largest value of their format; float values must be in [0, 1].
    Transparency is ignored. Of several frames or pages the first is read. JPEG pictures above
    MAX_PIXELS are decoded at a half, a quarter or an eighth of their size. Raises PruningError for
    every other file, and for files that are no regular files; it never waits for one.
    """
    name = shown or printable(path)
    return _opened(path, name, lambda image: _upright(image, mode, name))


def check_image(path: str | Path, shown: str) -> tuple[int, int]:
    """Width and height in the header of an image file; nothing is decoded.

    shown: what an error calls the file. Raises PruningError as `read_image`, for what the header
    shows.
    """
    return _opened(path, shown, lambda image: image.size)


def _opened(path: str | Path, shown: str, read: Callable[[Image.Image], Result]) -> Result:
    try:
        with _open_regular(path, shown) as file, Image.open(file, formats=FORMATS) as image:
            _check_size(image, shown)
            return read(image)
    except PruningError:
        raise
    except Image.DecompressionBombError as error:  # Pillow's message has the number of pixels
        pixels = re.search(r"\d+", str(error))
        raise PruningError(
            f"The image {shown} has {int(pixels[0]):,} pixels, more than "
            f"{MAX_PIXELS // 1_000_000} million: make it smaller."
            if pixels
            else f"The image {shown} has too many pixels: make it smaller."
        ) from error
    except UNREADABLE as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise PruningError(
            f"The image {shown} cannot be read ({reason}); replace or remove it."
        ) from error


def _open_regular(path: str | Path, shown: str) -> BinaryIO:
    """The file, opened without waiting for a writer. Raises PruningError for pipes and devices."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags)
    status = os.fstat(handle)
    if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_BYTES:
        return os.fdopen(handle, "rb")
    os.close(handle)
    if stat.S_ISREG(status.st_mode):
        raise PruningError(
            f"The image {shown} has more than {MAX_BYTES >> 20} MB: make it smaller."
        )
    raise PruningError(f"The image {shown} is no regular file: remove it.")


def _check_size(image: Image.Image, shown: str) -> None:
    """Raises PruningError for pictures that are too large or too narrow. Nothing is decoded yet."""
    width, height = image.size
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise PruningError(
            f"The image {shown} has {width} x {height} pixels: one side is more than {MAX_ASPECT} "
            "times the other."
        )
    limit = MAX_PIXELS_OF.get(str(image.format), MAX_PIXELS)
    if image.format in ("JPEG", "MPO"):
        _decode_smaller(image, limit, shown)
    if image.width * image.height > limit:
        raise PruningError(
            f"The image {shown} has {width} x {height} pixels, more than {limit // 1_000_000} "
            "million: make it smaller."
        )


def _decode_smaller(image: Image.Image, limit: int, shown: str) -> None:
    """Sets the scale at which a JPEG picture is decoded.

    A progressive one keeps all its coefficients in memory, 6 bytes per pixel, at every scale.
    """
    width, height = image.size
    pixels = width * height
    if image.info.get("progressive"):
        limit = min(limit, 10_000_000)
        if pixels > MAX_PIXELS:
            raise PruningError(
                f"The image {shown} has {width} x {height} pixels in a progressive JPEG, more than "
                f"{MAX_PIXELS // 1_000_000} million: make it smaller."
            )
    scale = next((scale for scale in (1, 2, 4) if pixels <= limit * scale**2), 8)
    if scale > 1:
        image.draft(image.mode, (width // scale, height // scale))


def _upright(image: Image.Image, mode: str, shown: str) -> Image.Image:
    """The picture in that mode, turned as its EXIF orientation says."""
    image.load()
    turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    converted = _converted(image, mode, shown)
    return converted if turn is None else converted.transpose(turn)


def _converted(image: Image.Image, mode: str, shown: str) -> Image.Image:
    if image.mode == mode and "transparency" not in image.info:
        return image.copy() if image.readonly else image  # a copy where the file is mapped
    if image.mode.startswith("I") or image.mode == "F":
        return _in_mode(_eight_bits(image, shown), mode)
    if image.has_transparency_data:
        return _in_mode(_without_transparency(image, shown), mode)
    if mode == "L" and image.mode in ("CMYK", "P"):
        return image.convert("RGB").convert("L")
    return image.convert(mode)


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)


def _without_transparency(image: Image.Image, shown: str) -> Image.Image:
    """The colours. Raises PruningError where only the transparency shows something."""
    opaque = _in_mode(image, "RGBA")
    *colours, alpha = (opaque.getchannel(band).getextrema() for band in "RGBA")
    if alpha[0] != alpha[1] and all(low == high for low, high in colours):
        raise PruningError(
            f"The image {shown} shows something only by its transparency, which is ignored: save "
            "it without transparency."
        )
    return opaque.convert("RGB")


def _eight_bits(image: Image.Image, shown: str) -> Image.Image:
    """A grey picture of 16-bit or float values in 8 bits."""
    read = _float_to_byte if image.mode == "F" else _integer_to_byte
    convert = read(image, shown)
    grey = Image.new("L", image.size)
    for top, part in _strips(image):
        grey.paste(Image.fromarray(convert(part)), (0, top))
    return grey


def _strips(image: Image.Image) -> Iterator[tuple[int, np.ndarray]]:
    """The first row of each strip, and its values."""
    rows = max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        yield top, np.asarray(image.crop((0, top, image.width, bottom)))


def _integer_to_byte(image: Image.Image, shown: str) -> Callable[[np.ndarray], np.ndarray]:
    """Raises PruningError where the value of white is not known."""
    tags = getattr(image, "tag_v2", {})
    if image.mode == "I" and image.format not in ("PNG", "PPM"):
        raise PruningError(
            f"The image {shown} has signed or 32-bit integers, whose white is unknown: "
            "save 16 bits."
        )
    bits = tags.get(BITS_PER_SAMPLE, (16,))[0]
    white = (1 << bits) - 1
    levels = np.round(np.linspace(0, 255, white + 1)).astype(np.uint8)
    if tags.get(PHOTOMETRIC) == 0:  # white is zero
        levels = levels[::-1]

    def convert(values: np.ndarray) -> np.ndarray:
        byte: np.ndarray = levels[np.minimum(values, white)]
        return byte

    return convert


def _float_to_byte(image: Image.Image, shown: str) -> Callable[[np.ndarray], np.ndarray]:
    """Raises PruningError where a value is not in [0, 1]."""
    for _, part in _strips(image):
        low = float(part.min())
        high = float(part.max())
        if not (low >= 0 and high <= 1):
            raise PruningError(
                f"The image {shown} has float values from {low:g} to {high:g}: save it with values "
                "from 0 to 1, or with 8 or 16 bits."
            )
    return lambda values: np.round(values * 255).astype(np.uint8)
