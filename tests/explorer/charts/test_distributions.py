"""Histograms of group scores and of weights."""

import numpy as np
import pytest

from explorer import charts
from explorer.charts import palette

SHAPE = (2, 3, 2, 2)
WEIGHT = (np.arange(24, dtype=np.float32).reshape(SHAPE) - 12) / 4
FILTERS = np.broadcast_to(np.arange(2).reshape(2, 1, 1, 1), SHAPE)
KEPT = FILTERS == 1


def test_histogram_counts_every_group_once_and_marks_the_threshold() -> None:
    scores = np.array([0.0, 1, 2, 3, np.inf])
    kept = np.array([False, False, True, True, True])
    figure = charts.score_histogram(scores, kept, 2.0, bins=3)
    pruned, kept_bars = figure.data
    assert (pruned.name, kept_bars.name) == ("removed (2)", "kept (3)")
    assert pruned.y.tolist() == [1, 1, 0]
    assert kept_bars.y.tolist() == [0, 0, 2]
    assert (pruned.marker.color, pruned.marker.pattern.shape) == (palette.PRUNED, "/")
    assert (kept_bars.marker.color, kept_bars.marker.pattern.shape) == (palette.KEPT, "")
    (line,) = figure.layout.shapes
    assert (line.x0, line.x1, line.line.color) == (2.0, 2.0, palette.THRESHOLD)
    assert "1 without a finite score" in charts.alt(figure)
    assert not charts.score_histogram(scores, kept).layout.shapes


@pytest.mark.parametrize("scores", [np.ones(4), np.array([2.5]), np.zeros(0)])
def test_histograms_of_unusual_scores(scores: np.ndarray) -> None:
    figure = charts.score_histogram(scores, np.ones(scores.shape, bool))
    assert sum(figure.data[1].y) == scores.size


def test_weight_histograms_have_common_bins_and_the_fraction_of_zeros() -> None:
    figure = charts.weight_histograms({"dense": WEIGHT, "pruned": WEIGHT * KEPT})
    dense, pruned = figure.data
    assert np.array_equal(dense.x, pruned.x)
    assert (sum(dense.y), sum(pruned.y)) == (23, 11)
    assert pruned.name == "pruned, 54.2% zeros"
    assert (dense.line.color, dense.line.dash) != (pruned.line.color, pruned.line.dash)
    assert (dense.line.dash, pruned.line.dash) == ("solid", "dash")


def test_a_layer_of_zeros_has_a_histogram() -> None:
    assert sum(charts.weight_histograms({"pruned": np.zeros(9)}).data[0].y) == 0
