"""Weights and masks as cells with hover, as pixels, and what marks the pruned ones."""

from io import BytesIO

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image

from explorer import charts, palette
from explorer.charts import tensors
from explorer.raster import hatch_png, weights_png
from explorer.tiles import lay, reduce, tile

SHAPE = (2, 3, 2, 2)
WEIGHT = (np.arange(24, dtype=np.float32).reshape(SHAPE) - 12) / 4
FILTERS = np.broadcast_to(np.arange(2).reshape(2, 1, 1, 1), SHAPE)
KEPT = FILTERS == 1
TILES = tile(WEIGHT, FILTERS)


def trace(figure: go.Figure, name: str) -> go.Heatmap:
    (found,) = [each for each in figure.data if each.name == name]
    return found


def test_weights_and_pruned_cells_are_told_apart_and_keep_their_values() -> None:
    figure = charts.weight_heatmap(TILES, KEPT, 3.0, FILTERS.astype(float), name="conv")
    weights, cover = figure.data[:2]
    gone = lay(TILES, KEPT) == 0
    assert np.array_equal(weights.z, TILES.values, equal_nan=True), "hovering over a pruned cell tells what was there"
    assert np.array_equal(np.isnan(cover.z), ~gone)
    assert (weights.text[0, 0], weights.text[3, 0]) == ("pruned", "kept")
    assert (weights.zmin, weights.zmax) == (-3.0, 3.0)
    assert [colour for _, colour in weights.colorscale] == list(palette.DIVERGING)
    assert {colour for _, colour in cover.colorscale} == {palette.PRUNED_CELL}
    assert cover.hoverinfo == "skip"
    assert np.array_equal(weights.x, TILES.col_edges)
    row, col = 3, 1  # filter 1, kernel row 0; channel 0, kernel column 1
    assert weights.customdata[row, col].tolist() == [1, 0, 0, 1, 1]
    assert "group score %{customdata[4]" in weights.hovertemplate
    assert charts.alt(figure) == "Weights of conv: 2 filters by 3 channels of 2 x 2, 50.0% kept."


def test_few_pruned_cells_are_crossed_each_in_its_middle() -> None:
    crosses = trace(charts.mask_heatmap(TILES, KEPT), "pruned marks")
    assert crosses.marker.symbol == "x-thin"
    assert len(crosses.x) == 12
    assert set(crosses.y) == {0.5, 1.5}


def test_many_pruned_cells_are_hatched_by_one_image() -> None:
    shape = (50, 50, 1, 1)
    tiles = tile(np.ones(shape, np.float32), np.arange(2500).reshape(shape))
    figure = charts.mask_heatmap(tiles, np.zeros(shape, bool))
    (image,) = figure.layout.images
    assert image.source.startswith("data:image/png;base64,")
    assert (image.x, image.y, image.sizex, image.sizey) == (0, 0, 50, 50)


def test_mask_is_one_where_kept_and_nothing_in_gaps() -> None:
    z = trace(charts.mask_heatmap(TILES, KEPT), "mask").z
    assert np.array_equal(z[:2, 0], [0, 0])
    assert np.array_equal(z[3:, 0], [1, 1])
    assert np.isnan(z[2]).all()


def test_linear_layers_have_no_kernel_position_in_their_hover() -> None:
    weight = np.ones((3, 2, 1, 1), np.float32)
    figure = charts.weight_heatmap(tile(weight, np.arange(6).reshape(weight.shape)), weight > 0, 1.0)
    assert "kernel" not in figure.data[0].hovertemplate
    assert figure.data[0].customdata.shape == (3, 2, 2)


def test_axes_count_filters_and_channels_in_their_middles() -> None:
    figure = charts.mask_heatmap(TILES, KEPT)
    assert figure.layout.yaxis.ticktext == ("0", "1")
    assert figure.layout.yaxis.tickvals.tolist() == [1.0, 3.625]
    assert figure.layout.yaxis.range == (TILES.row_edges[-1], 0)
    many = tile(np.ones((100, 2, 1, 1), np.float32), np.arange(200).reshape(100, 2, 1, 1))
    assert charts.mask_heatmap(many, np.ones((100, 2, 1, 1), bool)).layout.yaxis.ticktext[:3] == ("0", "20", "40")


def test_a_large_layer_is_an_image_with_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "MAX_CELLS", 10)
    figure = charts.weight_heatmap(TILES, KEPT, 3.0)
    assert not [each for each in figure.data if each.type == "heatmap"]
    assert len(figure.layout.images) == 1
    assert figure.layout.yaxis.range == (TILES.row_edges[-1], 0)
    assert "downsampled" in charts.alt(charts.mask_heatmap(TILES, KEPT))


def test_a_reduced_picture_shows_mean_magnitudes_and_kept_shares() -> None:
    small = reduce(TILES, 8)
    figure = charts.weight_heatmap(small, KEPT, 3.0)
    kept = figure.data[0]
    assert (kept.zmin, kept.zmax) == (0, 3.0)
    assert "mean |weight|" in kept.hovertemplate
    assert "kept share" in kept.hovertemplate
    assert "downsampled by" in charts.alt(figure)


def test_robust_limit_is_shared_and_never_zero() -> None:
    assert charts.robust_limit(np.zeros(5)) == 1.0
    assert charts.robust_limit(np.array([np.nan])) == 1.0
    assert charts.robust_limit(np.ones(3), np.full(300, -2.0)) == 2.0


def test_pixels_show_colours_grey_hatch_and_clear_gaps() -> None:
    with Image.open(BytesIO(weights_png(TILES, KEPT, 3.0, scale=8))) as image:
        pixels = np.asarray(image.convert("RGBA"))
    assert pixels.shape[:2] == (round(TILES.row_edges[-1] * 8), round(TILES.col_edges[-1] * 8))
    upper, gap, lower = pixels[:16, :16], pixels[17, 0], pixels[21:, :16]
    assert {tuple(p[:3]) for p in upper.reshape(-1, 4)} == {palette.rgb(palette.PRUNED_CELL), palette.rgb(palette.PRUNED_MARK)}
    assert gap[3] == 0
    assert palette.rgb(palette.PRUNED_MARK) not in {tuple(p[:3]) for p in lower.reshape(-1, 4)}
    assert tuple(lower[0, 0][:3]) == tuple(palette.ramp(palette.DIVERGING, 253)[round((WEIGHT[1, 0, 0, 0] + 3) / 6 * 252)])
    with Image.open(BytesIO(hatch_png(TILES, lay(TILES, KEPT) == 0))) as hatch:
        alpha = np.asarray(hatch.convert("RGBA"))[..., 3]
    assert alpha[:16, :16].any()
    assert not alpha[16:].any()
