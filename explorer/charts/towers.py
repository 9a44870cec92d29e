"""A small convolution as 3-D blocks: one tower per filter, one floor per input channel."""

import numpy as np
from PIL import Image, ImageDraw

from explorer.charts.palette import KEPT_CELL, PRUNED_CELL, PRUNED_MARK, rgb
from explorer.charts.raster import png

UNIT = 5.6
"""Half the width of a tile, in pixels of the page."""
FINE = 2
"""Pixels of the picture per pixel of the page; twice as many are drawn, then averaged."""
OVERSAMPLED = 2
THICK = 0.62
"""The height of a tile, in units."""
FLOOR = 3.9
"""The distance of two floors, in units."""
GAP = 0.9
"""The distance of two towers, in units."""
SIDES = (0.62, 0.78)
"""How dark the left and the right side of a tile is."""


def towers(kept: np.ndarray, unit: float = UNIT) -> tuple[bytes, int, int]:
    """A mask, O I H W, as a PNG with its width and height on the page, in pixels.

    Each kept weight is a solid tile; each removed one is the pale outline of a tile. Channels are
    floors, the first on top. Rows of a kernel run to the lower left, columns to the lower right.
    unit: half the width of a tile.
    """
    o, i, h, w = kept.shape
    width = o * (h + w) + (o - 1) * GAP
    height = (h + w) / 2 + (i - 1) * FLOOR + THICK
    scale = unit * FINE * OVERSAMPLED
    margin = FINE * OVERSAMPLED
    size = (round(width * scale) + 2 * margin, round(height * scale) + 2 * margin)
    image = Image.new("RGBA", size, (*rgb(PRUNED_CELL), 0))
    draw = ImageDraw.Draw(image)
    for tower in range(o):
        left = tower * (h + w + GAP) + h
        for floor in reversed(range(i)):
            for row in range(h):
                for column in range(w):
                    x = left + column - row
                    y = (column + row) / 2 + floor * FLOOR
                    at = (margin + x * scale, margin + y * scale)
                    _tile(draw, at, scale, solid=bool(kept[tower, floor, row, column]))
    small = (size[0] // OVERSAMPLED, size[1] // OVERSAMPLED)
    picture = image.resize(small, Image.Resampling.LANCZOS)
    return png(picture), small[0] // FINE, small[1] // FINE


def _tile(draw: ImageDraw.ImageDraw, at: tuple[float, float], scale: float, *, solid: bool) -> None:
    """One tile. at: its upper corner."""
    x, y = at
    side = 0.94 * scale
    low = y + side / 2
    thick = THICK * scale
    top = [(x, y), (x + side, low), (x, y + side), (x - side, low)]
    if not solid:
        draw.polygon(top, fill=(*rgb(PRUNED_CELL), 38), outline=(*rgb(PRUNED_MARK), 120))
        return
    left = [top[3], top[2], (x, y + side + thick), (x - side, low + thick)]
    right = [top[2], top[1], (x + side, low + thick), (x, y + side + thick)]
    for shape, share in ((left, SIDES[0]), (right, SIDES[1]), (top, 1.0)):
        draw.polygon(shape, fill=(*(round(share * part) for part in rgb(KEPT_CELL)), 255))
