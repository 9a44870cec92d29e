"""Weights and masks as pixels, the scale that pictures share, and what marks the pruned cells."""

from io import BytesIO

import numpy as np
from PIL import Image

from explorer import charts
from explorer.charts import palette
from explorer.charts.raster import weights_png
from explorer.charts.tiles import tile

SHAPE = (2, 3, 2, 2)
WEIGHT = (np.arange(24, dtype=np.float32).reshape(SHAPE) - 12) / 4
FILTERS = np.broadcast_to(np.arange(2).reshape(2, 1, 1, 1), SHAPE)
KEPT = FILTERS == 1
TILES = tile(WEIGHT, FILTERS)


def test_robust_limit_is_shared_and_never_zero() -> None:
    assert charts.robust_limit(np.zeros(5)) == 1.0
    assert charts.robust_limit(np.array([np.nan])) == 1.0
    assert charts.robust_limit(np.ones(3), np.full(300, -2.0)) == 2.0


def test_pixels_show_colours_grey_hatch_and_clear_gaps() -> None:
    with Image.open(BytesIO(weights_png(TILES, KEPT, 3.0, scale=8))) as image:
        pixels = np.asarray(image.convert("RGBA"))
    assert pixels.shape[:2] == (round(TILES.row_edges[-1] * 8), round(TILES.col_edges[-1] * 8))
    upper = pixels[:16, :16]
    gap = pixels[17, 0]
    lower = pixels[21:, :16]
    assert {tuple(p[:3]) for p in upper.reshape(-1, 4)} == {
        palette.rgb(palette.PRUNED_CELL),
        palette.rgb(palette.PRUNED_MARK),
    }
    assert gap[3] == 0
    assert palette.rgb(palette.PRUNED_MARK) not in {tuple(p[:3]) for p in lower.reshape(-1, 4)}
    assert tuple(lower[0, 0][:3]) == tuple(
        palette.ramp(palette.DIVERGING, 253)[round((WEIGHT[1, 0, 0, 0] + 3) / 6 * 252)]
    )
