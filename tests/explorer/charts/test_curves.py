"""The sensitivity curves of the layers: order, bands, marks and hover texts."""

import math
from dataclasses import replace

import numpy as np
import pytest

from explorer import charts
from pruning_core.sensitivity.preview_bands import Band
from pruning_core.tasks.positions import LanguageModel
from pruning_core.types import SensitivityPoint
from tests.explorer.charts.example_data import band, points, trace


def test_sensitivity_curves_are_sorted_and_have_bands_and_marks() -> None:
    figure = charts.sensitivity_curves(points(2), 0.9, {"l1": 0.2})
    curve = trace(figure, "l1")
    band = trace(figure, "l1 band")
    chosen = trace(figure, "l1 chosen")
    assert curve.x.tolist() == [0, 40, 80]
    assert np.allclose(curve.y, [90, 70, 50])
    assert band.fill == "toself"
    assert np.allclose(band.y, [90, 72.5, 55, 40, 65, 90]), "the paired interval of the change"
    assert (chosen.x, np.round(chosen.y, 6)) == ((20.0,), (80.0,))
    assert figure.layout.shapes[0].y0 == pytest.approx(90)
    assert figure.layout.annotations[0].text == "dense 90.0%"
    assert trace(figure, "l0").marker.symbol != curve.marker.symbol
    assert trace(figure, "l0").line.dash != curve.line.dash


def test_values_that_differ_by_decades_have_a_logarithmic_axis() -> None:
    values = {0.0: 5.0, 0.4: 50.0, 0.8: 5e4}
    wide = [
        replace(
            point,
            value=values[point.sparsity],
            change=values[point.sparsity] - 5,
            change_interval=(values[point.sparsity] - 5.1, values[point.sparsity] - 4.9),
            task=LanguageModel(),
        )
        for point in points(1)
    ]
    figure = charts.sensitivity_curves(wide, 5.0)
    assert figure.layout.yaxis.type == "log"
    dense, end = figure.layout.annotations
    assert dense.y == pytest.approx(math.log10(5))
    assert end.y == pytest.approx(math.log10(5e4))
    assert figure.layout.shapes[0].y0 == pytest.approx(5)
    near = charts.sensitivity_curves([p for p in wide if p.sparsity < 0.8], 5.0)
    assert near.layout.yaxis.type is None
    assert charts.sensitivity_curves(points(2), 0.9).layout.yaxis.type is None


def test_bands_stay_within_the_range_of_the_value() -> None:
    wide = [replace(point, change_interval=(-2.0, 2.0)) for point in points(1)]
    assert set(trace(charts.sensitivity_curves(wide), "l0 band").y) == {0, 100}


def test_estimated_curves_have_hollow_marks_bands_and_numbers_of_images() -> None:
    bands = [
        band(0.8, 0.3, 10),
        band(0.0, 0.9, 100),
        band(0.01, 0.9, 100, achieved=0.0),
        band(0.5, 0.6, 0),
        band(0.9, 0.2, 100),
    ]
    figure = charts.preview_curves(bands, 0.9)
    curve = trace(figure, "a + 1 tied")
    assert list(curve.marker.symbol) == [
        "circle",
        "x-thin-open",
        "circle-open",
        "circle-open",
        "circle",
    ]
    assert np.allclose(curve.y, [90, 90, 60, 30, 20])
    assert np.allclose(trace(figure, "a + 1 tied band").y, [95, 95, 65, 35, 25, 10, 20, 50, 80, 80])
    assert list(curve.customdata[3]) == ["80.0% removed", "30.0%", "20.0%", "35.0%", 10, 100]
    assert "estimated" in curve.hovertemplate
    assert "%{customdata[4]} of %{customdata[5]} images" in curve.hovertemplate
    assert figure.layout.legend.title.text == "estimated"
    assert figure.layout.annotations[0].text == "dense 90.0%"
    assert charts.alt(figure) == "Estimated sensitivity of 2 layers in 1 curves, 5 points."


def test_of_many_layers_only_the_lowest_or_the_focus_have_bands() -> None:
    def bands(layers: int) -> list[Band]:
        return [
            replace(band(s, 0.9 - s * n / 50, 10), parameter=f"l{n}", group=())
            for n in range(layers)
            for s in (0.0, 0.5)
        ]

    def shown(layers: int, focus: str | None = None) -> list[str]:
        return [
            each.name
            for each in charts.preview_curves(bands(layers), focus=focus).data
            if each.name.endswith("band")
        ]

    assert shown(3) == [f"l{n} band" for n in range(3)]
    assert shown(16) == [f"l{n} band" for n in range(13, 16)]
    assert shown(16, "l3") == ["l3 band"]
    scanned = charts.sensitivity_curves(points(12))
    assert sum(each.name.endswith("band") for each in scanned.data) == 3
    named = [note.text for note in scanned.layout.annotations]
    entries = [each.name for each in scanned.data if each.showlegend is not False]
    assert entries == [*sorted(named, key=entries.index), "9 other curves"]


def test_colours_of_a_scan_stay_while_it_runs() -> None:
    whole = points(12)
    half = [point for point in whole if int(point.parameter[1:]) < 6]
    running = charts.sensitivity_curves(half, total=12)
    finished = charts.sensitivity_curves(whole, total=12)
    for name in ("l0", "l3", "l5"):
        assert trace(running, name).line.color == trace(finished, name).line.color


def tied(name: str, sparsity: float, achieved: float, why: str | None = None) -> SensitivityPoint:
    change = (-sparsity, (-sparsity - 0.1, 0.1 - sparsity)) if achieved else (0.0, (0.0, 0.0))
    return SensitivityPoint(
        name,
        "filter",
        sparsity,
        achieved,
        1.0,
        0.9 + change[0],
        100,
        (0.0, 1.0),
        *change,
        ("a", "b"),
        why,
    )


def test_layers_that_are_pruned_together_have_one_curve_and_one_bar() -> None:
    curves = [
        tied(name, s, a) for name in ("a", "b") for s, a in ((0.0, 0.0), (0.1, 0.0), (0.5, 0.5))
    ]
    alone = [
        SensitivityPoint("c", "filter", s, s, 1.0, 0.9, 100, (0.0, 1.0), 0.0, (-0.02, 0.02))
        for s in (0.0, 0.5)
    ]
    figure = charts.sensitivity_curves([*curves, *alone], 0.9, {"a": 0.5, "b": 0.1}, focus="b")
    shown = trace(figure, "a + 1 tied")
    assert [each.name for each in figure.data if each.showlegend is not False] == [
        "a + 1 tied",
        "1 other curve",
    ]
    assert list(shown.marker.symbol) == ["circle", "circle-open", "circle"], (
        "hollow where nothing was removed"
    )
    assert shown.customdata[1][0] == "nothing removed: the ratio is less than one group"
    assert shown.customdata[2][2] == "-50.0 points (95%: -60.0 to -40.0)"
    assert (trace(figure, "a chosen").x, trace(figure, "b chosen").x) == ((50.0,), (10.0,))
    assert shown.line.width > trace(figure, "c").line.width
    assert charts.alt(figure) == "Sensitivity of 3 layers in 2 curves, 5 points."
    bars = charts.sensitivity_slice(
        [point for point in [*curves, *alone] if point.sparsity == 0.5]
    ).data[0]
    assert list(bars.y) == ["a + 1 tied", "c"]
    assert np.allclose(bars.error_x.array, [10, 2])
    assert np.allclose(bars.error_x.arrayminus, [10, 2])


def test_sensitivity_can_show_loss_and_focus_on_a_layer() -> None:
    figure = charts.sensitivity_curves(points(12), 1.0, focus="l3", measure="loss")
    assert np.allclose(trace(figure, "l3").y, [1, 1.4, 1.8])
    assert trace(figure, "l3").line.width > trace(figure, "l2").line.width
    assert trace(figure, "l2").opacity < trace(figure, "l3").opacity == 1
    assert not [each for each in figure.data if each.name.endswith("band")]
    assert len({trace(figure, f"l{n}").line.color for n in range(12)}) == 12
    accuracy = charts.sensitivity_curves(points(12), focus="l3")
    assert [each.name for each in accuracy.data if each.name.endswith("band")] == ["l3 band"]


def test_before_the_first_point_there_is_an_empty_figure() -> None:
    assert charts.alt(charts.sensitivity_curves([])) == "Sensitivity of 0 layers, 0 points."
