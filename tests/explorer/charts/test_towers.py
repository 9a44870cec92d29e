"""A convolution as towers: kept tiles are solid, removed ones pale, whatever else is removed."""

from io import BytesIO

import numpy as np
from PIL import Image

from explorer.charts.palette import KEPT_CELL, rgb
from explorer.charts.towers import FINE, towers


def pixels(kept: np.ndarray) -> np.ndarray:
    png, width, height = towers(kept)
    image = Image.open(BytesIO(png))
    assert image.size[0] // FINE == width
    assert image.size[1] // FINE == height
    return np.array(image).astype(int)


def blue(picture: np.ndarray) -> int:
    """How many pixels show the upper side of a kept tile."""
    return int((np.abs(picture[..., :3] - rgb(KEPT_CELL)).max(-1) < 3).sum())


def test_more_kept_weights_show_more_solid_tiles() -> None:
    shape = (3, 2, 3, 3)
    some = np.zeros(shape, bool)
    some[1] = True
    none, one, every = (
        blue(pixels(mask)) for mask in (np.zeros(shape, bool), some, np.ones(shape, bool))
    )
    assert none == 0
    assert 0.9 * every < 3 * one < 1.1 * every
    assert pixels(some)[..., 3].max() == 255
