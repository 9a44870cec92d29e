"""The sheet as HTML: escaped texts, a description of every picture, bars at their numbers."""

from io import BytesIO

import numpy as np
from PIL import Image

from explorer.charts.contact_sheet import Bar, Card, Shot, plate, sheet
from explorer.charts.palette import DIVERGING, KEPT_CELL, PRUNED_CELL, PRUNED_MARK, ramp, rgb
from explorer.charts.raster import map_png, mask_png
from explorer.charts.tiles import tile

SHOT = Shot(map_png(np.zeros((2, 2)), 1.0, signed=True), 'A "map" <b>', 20, 10, "dense")


def test_texts_are_escaped_and_pictures_described() -> None:
    html = sheet([Card("<i>", ("a & b", "softer"), (SHOT,), tag="<u>", off=True)], width=200)
    assert "<i>" not in html.replace("<i style", "")
    assert "<u>" not in html
    assert "a &amp; b" in html
    assert 'alt="A &quot;map&quot; &lt;b&gt;"' in html
    assert 'width="20" height="10"' in html
    assert "<figcaption>dense</figcaption>" in html
    assert 'class="card off"' in html
    assert html.count('role="listitem"') == 1
    assert "--card: 200px; --tall: 28px" in html


def test_a_bar_shows_value_interval_and_comparison() -> None:
    html = sheet([Card("x", ("90%",), bar=Bar(0.9, 0.85, 0.95, 0.99), chosen=True)], width=200)
    assert 'style="left: 85.00%; right: calc(100% - 95.00%)"' in html
    assert '<b style="left: 90.00%"></b><s style="left: 99.00%"></s>' in html
    assert 'class="card chosen"' in html


def test_a_single_picture() -> None:
    assert plate(SHOT).count("<img") == 1


def pixels(png: bytes) -> np.ndarray:
    with Image.open(BytesIO(png)) as image:
        return np.asarray(image.convert("RGBA"))


def test_a_map_has_a_pixel_for_each_value_and_a_scale_around_zero() -> None:
    colours = ramp(DIVERGING, 256)
    html = pixels(map_png(np.array([[-2.0, 0.0, 2.0, 9.0]]), 2.0, signed=True))
    assert html.shape == (1, 4, 4)
    assert [tuple(p[:3]) for p in html[0]] == [tuple(colours[at]) for at in (0, 128, 255, 255)]
    dark = pixels(map_png(np.array([[0.0, 1.0]]), 1.0, signed=False))
    assert dark[0, 0, :3].sum() > dark[0, 1, :3].sum()


def test_a_mask_has_two_pixels_per_drawn_one_and_hatches_what_goes() -> None:
    kept = np.array([True, False, True, False]).reshape(2, 2, 1, 1)
    tiles = tile(np.ones((2, 2, 1, 1), np.float32), np.arange(4).reshape(2, 2, 1, 1))
    html = pixels(mask_png(tiles, kept, (20, 20)))
    assert html.shape == (40, 40, 4)
    assert {tuple(p[:3]) for p in html[:, :20].reshape(-1, 4)} == {rgb(KEPT_CELL)}
    assert {tuple(p[:3]) for p in html[:, 20:].reshape(-1, 4)} == {
        rgb(PRUNED_CELL),
        rgb(PRUNED_MARK),
    }
