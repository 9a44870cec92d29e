"""Weights, masks, maps and images as PNG pictures, with numpy and Pillow only."""

from base64 import b64encode
from io import BytesIO

import numpy as np
from PIL import Image

from explorer.charts.palette import (
    DIVERGING,
    KEPT_CELL,
    MAGNITUDE,
    PRUNED_CELL,
    PRUNED_CELL_ALPHA,
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
    """A weight tensor in the colours of DIVERGING; pruned cells are translucent
    grey and hatched.

    kept: O I H W, True = keep.
    limit: the |weight| that gets the full colour.
    scale: pixels per cell.
    Gaps are transparent. Each pixel is one byte: 253 levels of colour, then grey, hatch and gap.
    """
    level = np.clip((np.nan_to_num(tiles.values) / limit + 1) / 2, 0, 1)
    removed = lay(tiles, kept) == 0
    gap = np.isnan(tiles.values)
    codes = np.select([gap, removed], [GAP, GREY], (level * (LEVELS - 1)).round()).astype(np.uint8)
    rows = _pixels(tiles.row_edges, scale)
    cols = _pixels(tiles.col_edges, scale)
    pixels = codes[np.ix_(rows, cols)]
    pixels[_hatched(tiles, removed, rows, cols)] = HATCH
    image = Image.fromarray(pixels)
    colours = ramp(DIVERGING, LEVELS)
    image.putpalette([*colours.ravel().tolist(), *rgb(PRUNED_CELL), *rgb(PRUNED_MARK), 0, 0, 0])
    return png(image, transparency=bytes([255] * LEVELS + [PRUNED_CELL_ALPHA, 255, 0]))


def mask_png(tiles: Tiles, kept: np.ndarray, size: tuple[int, int]) -> bytes:
    """A mask: kept cells blue, pruned cells translucent and hatched, gaps transparent.

    kept: O I H W, True = keep.
    size: width and height on the page. The picture has FINE times as many pixels on both axes, so
    thin gaps stay visible when the browser scales it.
    """
    removed = lay(tiles, kept) == 0
    gap = np.isnan(tiles.values)
    rows = _pixels(tiles.row_edges, FINE * size[1] / tiles.row_edges[-1])
    cols = _pixels(tiles.col_edges, FINE * size[0] / tiles.col_edges[-1])
    pixels = np.select([gap, removed], [3, 1], 0).astype(np.uint8)[np.ix_(rows, cols)]
    pixels[_hatched(tiles, removed, rows, cols, FINE)] = 2
    image = Image.fromarray(pixels)
    image.putpalette([*rgb(KEPT_CELL), *rgb(PRUNED_CELL), *rgb(PRUNED_MARK), 0, 0, 0])
    return png(image, transparency=bytes([255, PRUNED_CELL_ALPHA, 255, 0]))


def map_png(values: np.ndarray, limit: float, *, signed: bool) -> bytes:
    """One pixel per value, R x C.

    signed: from -limit to limit in DIVERGING; else from 0 to limit in MAGNITUDE.
    """
    low = -limit if signed else 0.0
    level = np.clip((values - low) / (limit - low), 0, 1)
    image = Image.fromarray((level * 255).round().astype(np.uint8))
    image.putpalette(ramp(DIVERGING if signed else MAGNITUDE, 256).ravel().tolist())
    return png(image)


def removed_png(width: int, height: int) -> bytes:
    """A part that is removed: translucent grey and hatched, as in `mask_png`. Sides in pixels."""
    diagonal = np.arange(height)[:, None] + np.arange(width)
    image = Image.fromarray((diagonal % HATCH_PERIOD == 0).astype(np.uint8))
    image.putpalette([*rgb(PRUNED_CELL), *rgb(PRUNED_MARK)])
    return png(image, transparency=bytes([PRUNED_CELL_ALPHA, 255]))


def data_uri(png: bytes) -> str:
    """The PNG as the text of an image source."""
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
    """The cell that each pixel shows. Edges are rounded, so rounding errors do not add up."""
    return np.repeat(np.arange(len(edges) - 1), np.diff(np.round(edges * scale).astype(int)))


def png(image: Image.Image, **options: bytes) -> bytes:
    """The file of an image. options: of Pillow's PNG writer."""
    stream = BytesIO()
    image.save(stream, "PNG", **options)
    return stream.getvalue()
