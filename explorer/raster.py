"""Pictures of tiles as PNG: large layers whole, and the hatch that marks pruned cells. Pure numpy and Pillow."""

from base64 import b64encode
from io import BytesIO

import numpy as np
from PIL import Image

from explorer.palette import DIVERGING, MAGNITUDE, PRUNED_CELL, PRUNED_MARK, ramp, rgb
from explorer.tiles import Tiles, lay

HATCH_PERIOD = 5


def weights_png(tiles: Tiles, kept: np.ndarray, limit: float, scale: int = 2) -> bytes:
    """The picture with `scale` pixels to a cell. kept: O I H W, true = keep; limit: the |weight| of full colour.

    Signed weights in DIVERGING, reduced pictures (mean magnitudes) in MAGNITUDE; pruned cells grey and hatched, gaps transparent.
    A reduced cell is hatched when nothing of it is kept, and greyed by its pruned share.
    """
    share = lay(tiles, kept, fill=0)
    colours = ramp(MAGNITUDE if tiles.reduced else DIVERGING)
    low = 0.0 if tiles.reduced else -limit
    level = (np.nan_to_num(tiles.values) - low) / (limit - low or 1.0)
    paint = colours[(np.clip(level, 0, 1) * (len(colours) - 1)).round().astype(int)]
    grey = np.array(rgb(PRUNED_CELL))
    cells = (paint * share[..., None] + grey * (1 - share[..., None])).round().astype(np.uint8)
    rows, cols = _pixels(tiles.row_edges, scale), _pixels(tiles.col_edges, scale)
    image = np.full((len(rows), len(cols), 4), 255, np.uint8)
    image[..., :3] = cells[np.ix_(rows, cols)]
    image[_hatched(tiles, share == 0, rows, cols)] = (*rgb(PRUNED_MARK), 255)
    image[..., 3] = np.where(np.isnan(tiles.values)[np.ix_(rows, cols)], 0, 255)
    return _png(Image.fromarray(image))


def hatch_png(tiles: Tiles, pruned: np.ndarray, scale: int = 8) -> bytes:
    """Only the hatch, on nothing: thin diagonal lines over the cells where `pruned` (R x C bool, as the picture) is true."""
    rows, cols = _pixels(tiles.row_edges, scale), _pixels(tiles.col_edges, scale)
    image = Image.fromarray(_hatched(tiles, pruned, rows, cols).astype(np.uint8))
    image.putpalette([0, 0, 0, *rgb(PRUNED_MARK)])
    return _png(image, transparency=0)


def data_uri(png: bytes) -> str:
    """The PNG as text that an image source takes."""
    return "data:image/png;base64," + b64encode(png).decode("ascii")


def _hatched(tiles: Tiles, pruned: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    marked = pruned & ~np.isnan(tiles.values)
    diagonal = (np.arange(len(rows))[:, None] + np.arange(len(cols))) % HATCH_PERIOD == 0
    return marked[np.ix_(rows, cols)] & diagonal


def _pixels(edges: np.ndarray, scale: int) -> np.ndarray:
    """For each pixel, the picture cell it shows; edges are rounded to whole pixels so that errors do not add up."""
    return np.repeat(np.arange(len(edges) - 1), np.diff(np.round(edges * scale).astype(int)))


def _png(image: Image.Image, **options: int) -> bytes:
    stream = BytesIO()
    image.save(stream, "PNG", **options)
    return stream.getvalue()
