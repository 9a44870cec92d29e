"""Small pictures of granularities."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from explorer.charts.patterns import FAINT, flat_png
from pruning_core.granularity import granularity


def opaque(name: str) -> np.ndarray:
    """How opaque each pixel of a flat picture is; 0 between kernels."""
    return np.array(Image.open(BytesIO(flat_png(granularity(name)))))[..., 1]


@pytest.mark.parametrize(("name", "axis"), [("filter", 1), ("channel", 0)])
def test_filters_are_downwards_and_channels_across_as_in_the_mask_lab(name: str, axis: int) -> None:
    picture = opaque(name)
    whole = [set(line) - {0} for line in np.moveaxis(picture, axis, 1)]
    assert {frozenset(line) for line in whole} == {
        frozenset({255}),
        frozenset({FAINT}),
        frozenset(),
    }, "each line is kept, removed, or between two"


@pytest.mark.parametrize("name", ["fine", "kernel", "block:4x4", "head"])
def test_every_picture_fits_beside_its_word(name: str) -> None:
    height, width = opaque(name).shape
    assert width > height
