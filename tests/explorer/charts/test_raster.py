"""Weights and images as pixels."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from explorer.charts import palette
from explorer.charts.raster import ENLARGED_SIDE, enlarged, removed_png, weights_png
from explorer.charts.tiles import tile

SHAPE = (2, 3, 2, 2)
WEIGHT = (np.arange(24, dtype=np.float32).reshape(SHAPE) - 12) / 4
FILTERS = np.broadcast_to(np.arange(2).reshape(2, 1, 1, 1), SHAPE)
KEPT = FILTERS == 1
TILES = tile(WEIGHT, FILTERS)


def colours(pixels: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(pixel) for pixel in pixels.reshape(-1, 4)}


def test_pruned_cells_are_grey_and_hatched_and_gaps_transparent() -> None:
    with Image.open(BytesIO(weights_png(TILES, KEPT, 3.0, scale=8))) as image:
        pixels = np.asarray(image.convert("RGBA"))
    assert pixels.shape[:2] == (round(TILES.row_edges[-1] * 8), round(TILES.col_edges[-1] * 8))
    grey = (*palette.rgb(palette.PRUNED_CELL), palette.PRUNED_CELL_ALPHA)
    hatch = (*palette.rgb(palette.PRUNED_MARK), 255)
    pruned = pixels[:16, :16]
    kept = pixels[21:, :16]
    assert colours(pruned) == {grey, hatch}
    assert pixels[17, 0][3] == 0
    assert hatch not in colours(kept)
    level = round((WEIGHT[1, 0, 0, 0] + 3) / 6 * 252)
    assert tuple(kept[0, 0][:3]) == tuple(palette.ramp(palette.DIVERGING, 253)[level])


def test_a_removed_part_looks_as_pruned_cells_do() -> None:
    with Image.open(BytesIO(removed_png(12, 7))) as image:
        pixels = np.asarray(image.convert("RGBA"))
    with Image.open(BytesIO(weights_png(TILES, KEPT, 3.0, scale=8))) as image:
        pruned = np.asarray(image.convert("RGBA"))[:16, :16]
    assert pixels.shape[:2] == (7, 12)
    assert colours(pixels) == colours(pruned)


@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 32), (1, 28), (3, 224)])
def test_images_are_enlarged_by_whole_factors(channels: int, side: int) -> None:
    image = enlarged(torch.rand(channels, side, side).numpy())
    assert image.width >= ENLARGED_SIDE
    assert image.width % side == 0
    assert image.mode == ("L" if channels == 1 else "RGB")
