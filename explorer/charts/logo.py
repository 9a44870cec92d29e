"""The app's icon: a small weight matrix with some removed tiles.

It is drawn here, so no page loads an icon over the network.
"""

import numpy as np
from PIL import Image

from explorer.charts.palette import KEPT, PRUNED, rgb

TILES = ("1101", "1011", "0110", "1101")
"""1 = kept, 0 = removed."""
SIDE = 13
GAP = 3


def icon() -> Image.Image:
    """64 x 64 pixels, with a transparent background."""
    image = np.zeros((len(TILES) * (SIDE + GAP), len(TILES[0]) * (SIDE + GAP), 4), np.uint8)
    for row, line in enumerate(TILES):
        for column, kept in enumerate(line):
            top = row * (SIDE + GAP) + 1
            left = column * (SIDE + GAP) + 1
            colour = (*rgb(KEPT), 255) if kept == "1" else (*rgb(PRUNED), 90)
            image[top : top + SIDE, left : left + SIDE] = colour
    return Image.fromarray(image)
