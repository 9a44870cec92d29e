"""Bars that compare networks and classes."""

import numpy as np
import pytest

from explorer import charts
from explorer.charts import palette
from tests.explorer.charts.example_data import evaluation


def test_comparison_bars_have_interval_number_and_pattern() -> None:
    figure = charts.comparison_bars(
        {"dense": evaluation(0.9), "recalibrated": evaluation(0.8), "tuned": evaluation(0.88)}
    )
    dense, recalibrated, tuned = figure.data
    assert dense.y == (90.0,)
    assert np.allclose([dense.error_y.array[0], dense.error_y.arrayminus[0]], [1, 2])
    assert tuned.x == ("fine-tuned<br><b>88.0%</b>",)
    assert "200 images" in tuned.hovertemplate
    assert [bar.marker.pattern.shape for bar in figure.data] == ["", "x", "."]
    assert recalibrated.error_y.color == palette.RECALIBRATED
    assert figure.layout.yaxis.range[0] == 0


def test_class_changes_are_sorted_and_have_sign_and_pattern() -> None:
    figure = charts.class_change(
        ["cat", "dog", "eel", "fox"], [0.5, 0.9, None, 0.5], [0.6, 0.7, 0.4, 0.5]
    )
    (bars,) = figure.data
    assert list(bars.y) == ["dog", "fox", "cat"]
    low, high = figure.layout.xaxis.range
    assert (low, high) == pytest.approx((-26, 16)), "the range includes the bars and their numbers"
    assert np.allclose(bars.x, [-20, 0, 10])
    assert list(bars.text) == ["-20.0", "+0.0", "+10.0"]
    assert list(bars.marker.pattern.shape) == ["/", "", ""]
    assert bars.marker.line.color == (palette.LOSS, palette.GAIN, palette.GAIN)
    assert (
        charts.alt(figure)
        == "Change per class from dense to fine-tuned: the largest loss is -20.0 points (dog)."
    )
    with pytest.raises(ValueError, match="zip"):
        charts.class_change(["a"], [0.1, 0.2], [0.1])


def test_without_images_no_class_is_lost() -> None:
    assert "no class lost" in charts.alt(charts.class_change(["a"], [None], [0.5]))
