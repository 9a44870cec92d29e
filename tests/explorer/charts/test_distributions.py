"""Histograms of weights."""

import numpy as np

from explorer import charts

SHAPE = (2, 3, 2, 2)
WEIGHT = (np.arange(24, dtype=np.float32).reshape(SHAPE) - 12) / 4
FILTERS = np.broadcast_to(np.arange(2).reshape(2, 1, 1, 1), SHAPE)
KEPT = FILTERS == 1


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
