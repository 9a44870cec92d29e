"""The chart of accuracy over compression and over speed-up."""

from dataclasses import replace

import pytest

from explorer import charts
from pruning_core.studies import Row


def row(asked: float, after: float, spread: float | None) -> Row:
    return Row(
        "snip",
        "fine",
        asked,
        3,
        asked * 0.9,
        asked,
        1e6 / asked,
        0.9,
        after - 0.1,
        0.01,
        after,
        spread,
        None,
        100,
    )


def test_the_chart_is_logarithmic_and_differs_in_more_than_colour() -> None:
    curves = {
        "one": [row(2.0, 0.8, 0.02), row(4.0, 0.6, 0.05)],
        "two": [row(2.0, 0.7, None), row(4.0, 0.65, None)],
    }
    figure = charts.tradeoff(curves, "compression")
    one, two = figure.data
    assert list(one.x) == pytest.approx([1.8, 3.6])
    assert list(one.y) == pytest.approx([80, 60])
    assert list(one.error_y.array) == pytest.approx([2, 5])
    assert list(two.error_y.array) == [0, 0]
    assert len({(t.line.color, t.line.dash, t.marker.symbol) for t in figure.data}) == 2
    assert one.line.dash != two.line.dash
    assert one.marker.symbol != two.marker.symbol
    assert figure.layout.xaxis.type == "log"
    assert list(figure.layout.xaxis.tickvals) == [1, 2, 4]
    assert figure.layout.shapes[0].y0 == 90
    assert (
        charts.alt(figure)
        == "Accuracy of 2 methods over compression, after fine-tuning; at 4× two is highest, 65.0%."
    )
    before = charts.tradeoff(curves, "speedup", "before")
    assert list(before.data[0].x) == [2, 4]
    assert list(before.data[0].y) == pytest.approx([70, 50])
    slower = {"one": [replace(row(2.0, 0.8, None), measured_speedup=0.4)]}
    timed = charts.tradeoff(slower, "measured_speedup")
    assert list(timed.layout.xaxis.tickvals) == [0.25, 0.5, 1]
    assert charts.alt(charts.tradeoff({})) == "No method is measured yet."
    with pytest.raises(KeyError):
        charts.tradeoff(curves, "latency")
