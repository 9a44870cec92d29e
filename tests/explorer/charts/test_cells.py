"""Weights as square cells: each weight once, with its label; laid out as in the mask lab."""

import numpy as np
import plotly.graph_objects as go
import pytest

from explorer.charts.cells import MAX_CELLS, square_cells
from explorer.charts.tiles import flat

SHAPES = [(16, 1, 3, 3), (6, 1, 5, 5), (7, 2, 1, 3), (12, 40, 1, 1), (1, 4, 1, 1), (5, 1, 1, 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_weight_is_shown_once_with_its_label(shape: tuple[int, int, int, int]) -> None:
    weight = np.arange(np.prod(shape)).reshape(shape)
    cells = square_cells(weight)
    shown = cells.values[~np.isnan(cells.values)].reshape(flat(weight).shape)
    assert np.array_equal(shown, flat(weight)), "the mask lab's layout"
    assert (len(cells.y), len(cells.x)) == tuple(n + 1 for n in cells.values.shape)
    assert np.all(np.diff(cells.x) > 0)
    assert cells.labels is not None
    o, i, h, w = (n - 1 for n in shape)
    inside = f", row {h}, column {w}" if shape[2] * shape[3] > 1 else ""
    kind = "filter" if inside else "output"
    assert cells.labels[cells.values == weight[-1, -1, -1, -1]] == [
        f"{kind} {o}, input {i}{inside}"
    ]
    assert np.array_equal(cells.labels == "", np.isnan(cells.values))


def test_cells_are_square_unless_the_picture_is_a_strip() -> None:
    for shape, anchor in (((12, 40, 1, 1), "x"), ((1, 100, 1, 1), None)):
        figure = go.Figure()
        square_cells(np.zeros(shape)).frame(figure)
        assert figure.layout.yaxis.scaleanchor == anchor


def test_a_large_layer_shows_its_first_filters_without_labels() -> None:
    cells = square_cells(np.zeros((1000, 500, 1, 1)))
    assert np.isfinite(cells.values).sum() == MAX_CELLS
    assert cells.labels is None
