"""Pictures of tiles as PNG: large layers whole, masks, the hatch that marks pruned cells; and of
maps. Pure numpy and Pillow.
"""

from base64 import b64encode
from io import BytesIO

import numpy as np
from PIL import Image

from explorer.charts.palette import (
    DIVERGING,
    KEPT_CELL,
    MAGNITUDE,
    PRUNED_CELL,
    PRUNED_MARK,
    ramp,
    rgb,
)
from explorer.charts.tiles import Tiles, lay

ENLARGED_SIDE = 96
"""`enlarged` makes the longer side of a picture at least this many pixels."""
HATCH_PERIOD = 5
FINE = 2
LEVELS = 253
GREY = LEVELS
HATCH = LEVELS + 1
GAP = LEVELS + 2


def weights_png(tiles: Tiles, kept: np.ndarray, limit: float, scale: float = 2) -> bytes:
    """The picture with `scale` pixels to a cell. kept: O I H W, true = keep; limit: the |weight| of
    full colour.

    Weights in DIVERGING; pruned cells grey and hatched, gaps transparent. One byte per pixel: a
    colour map of 253 levels, then grey, hatch and gap.
    """
    level = np.clip((np.nan_to_num(tiles.values) / limit + 1) / 2, 0, 1)
    gone = lay(tiles, kept) == 0
    gap = np.isnan(tiles.values)
    codes = np.select([gap, gone], [GAP, GREY], (level * (LEVELS - 1)).round()).astype(np.uint8)
    rows = _pixels(tiles.row_edges, scale)
    cols = _pixels(tiles.col_edges, scale)
    pixels = codes[np.ix_(rows, cols)]
    pixels[_hatched(tiles, gone, rows, cols)] = HATCH
    image = Image.fromarray(pixels)
    colours = ramp(DIVERGING, LEVELS)
    image.putpalette([*colours.ravel().tolist(), *rgb(PRUNED_CELL), *rgb(PRUNED_MARK), 0, 0, 0])
    return _png(image, transparency=GAP)


def mask_png(tiles: Tiles, kept: np.ndarray, size: tuple[int, int]) -> bytes:
    """The mask alone: kept dark, pruned light and hatched, gaps clear. kept: O I H W, true = keep.

    size: width x height as drawn; there are FINE pixels for each on both axes, so that thin gaps
    stay even when smoothed.
    """
    gone = lay(tiles, kept) == 0
    gap = np.isnan(tiles.values)
    rows = _pixels(tiles.row_edges, FINE * size[1] / tiles.row_edges[-1])
    cols = _pixels(tiles.col_edges, FINE * size[0] / tiles.col_edges[-1])
    pixels = np.select([gap, gone], [3, 1], 0).astype(np.uint8)[np.ix_(rows, cols)]
    pixels[_hatched(tiles, gone, rows, cols, FINE)] = 2
    image = Image.fromarray(pixels)
    image.putpalette([*rgb(KEPT_CELL), *rgb(PRUNED_CELL), *rgb(PRUNED_MARK), 0, 0, 0])
    return _png(image, transparency=3)


def map_png(values: np.ndarray, limit: float, *, signed: bool) -> bytes:
    """One pixel per value (R x C): from -limit to limit in DIVERGING if signed, else from 0 to
    limit in MAGNITUDE.
    """
    low = -limit if signed else 0.0
    level = np.clip((values - low) / (limit - low), 0, 1)
    image = Image.fromarray((level * 255).round().astype(np.uint8))
    image.putpalette(ramp(DIVERGING if signed else MAGNITUDE, 256).ravel().tolist())
    return _png(image)


def data_uri(png: bytes) -> str:
    """The PNG as text that an image source takes."""
    return "data:image/png;base64," + b64encode(png).decode("ascii")


def enlarged(picture: np.ndarray) -> Image.Image:
    """C H W in [0, 1] -> an image enlarged by a whole factor, so that its pixels stay sharp."""
    rows = (np.moveaxis(picture, 0, -1).clip(0, 1) * 255).round().astype(np.uint8)
    image = Image.fromarray(rows[..., 0] if rows.shape[-1] == 1 else rows)
    scale = max(1, -(-ENLARGED_SIDE // max(image.size)))
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def _hatched(
    tiles: Tiles, pruned: np.ndarray, rows: np.ndarray, cols: np.ndarray, thick: int = 1
) -> np.ndarray:
    marked = pruned & ~np.isnan(tiles.values)
    diagonal = (np.arange(len(rows))[:, None] + np.arange(len(cols))) // thick % HATCH_PERIOD == 0
    hatched: np.ndarray = marked[np.ix_(rows, cols)] & diagonal
    return hatched


def _pixels(edges: np.ndarray, scale: float) -> np.ndarray:
    """For each pixel, the picture cell it shows; edges are rounded to whole pixels so that errors
    do not add up.
    """
    return np.repeat(np.arange(len(edges) - 1), np.diff(np.round(edges * scale).astype(int)))


def _png(image: Image.Image, **options: int) -> bytes:
    stream = BytesIO()
    image.save(stream, "PNG", **options)
    return stream.getvalue()
