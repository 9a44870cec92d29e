"""Figures: what is drawn, in which colour, and never by colour alone."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from explorer import charts
from explorer.charts import palette
from pruning_core.sensitivity.preview import Band
from pruning_core.types import Epoch, Evaluation, SensitivityPoint, Step

SHAPE = (2, 3, 2, 2)
WEIGHT = (np.arange(24, dtype=np.float32).reshape(SHAPE) - 12) / 4
FILTERS = np.broadcast_to(np.arange(2).reshape(2, 1, 1, 1), SHAPE)
KEPT = FILTERS == 1


def evaluation(top1: float, per_class: tuple[float | None, ...] = (0.5, None)) -> Evaluation:
    zeros = torch.zeros(len(per_class), len(per_class), dtype=torch.int64)
    interval = (max(0.0, top1 - 0.02), min(1.0, top1 + 0.01))
    return Evaluation(
        200, top1, None, 1 - top1, interval, per_class, zeros, torch.zeros(200, dtype=torch.int64)
    )


def trace(figure: go.Figure, name: str) -> go.Scatter:
    (found,) = [each for each in figure.data if each.name == name]
    return found


EVERY = {
    "scores": lambda: charts.score_histogram(np.arange(10.0), np.arange(10) > 4, 5.0),
    "distributions": lambda: charts.weight_histograms({"dense": WEIGHT, "tuned": WEIGHT * KEPT}),
    "sensitivity": lambda: charts.sensitivity_curves(points(3), 0.9, {"l0": 0.5}),
    "preview": lambda: charts.preview_curves([band(0.0, 0.9, 100), band(0.5, 0.6, 10)], 0.9),
    "training": lambda: charts.training_curves(events(2, 3), {"dense": 0.9}),
    "comparison": lambda: charts.comparison_bars(
        {"dense": evaluation(0.9), "pruned": evaluation(0.4)}
    ),
    "classes": lambda: charts.class_change(["a", "b"], [0.5, 0.5], [0.4, 0.7]),
}


def points(layers: int) -> list[SensitivityPoint]:
    grid = (0.8, 0.0, 0.4)
    return [
        SensitivityPoint(
            f"l{n}",
            "fine",
            s,
            s,
            1 + s,
            0.9 - s / 2,
            100,
            (0.8, 0.95),
            -s / 2,
            (-s / 2 - s / 8, s / 16 - s / 2),
        )
        for n in range(layers)
        for s in grid
    ]


def events(epochs: int, steps: int) -> list[Step | Epoch]:
    told: list[Step | Epoch] = []
    for epoch in range(1, epochs + 1):
        told += [Step(epoch, step, steps, 1 / (epoch * step)) for step in range(1, steps + 1)]
        told.append(Epoch(epoch, epochs, 0.5 / epoch, evaluation(0.5 + 0.1 * epoch), epoch == 1))
    return told


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_every_figure_fits_both_pages_and_says_what_it_shows(make: Callable[[], go.Figure]) -> None:
    figure = make()
    assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == "rgba(0, 0, 0, 0)"
    assert figure.layout.uirevision
    assert charts.alt(figure).endswith(".")
    assert figure.layout.font.color is None, "the page's own text colour"
    assert len(figure.to_json()) > 100


def test_histogram_counts_every_group_once_and_marks_the_threshold() -> None:
    scores = np.array([0.0, 1, 2, 3, np.inf])
    kept = np.array([False, False, True, True, True])
    figure = charts.score_histogram(scores, kept, 2.0, bins=3)
    pruned, stays = figure.data
    assert (pruned.name, stays.name) == ("pruned (2)", "kept (3)")
    assert pruned.y.tolist() == [1, 1, 0]
    assert stays.y.tolist() == [0, 0, 2]
    assert (pruned.marker.color, pruned.marker.pattern.shape) == (palette.PRUNED, "/")
    assert (stays.marker.color, stays.marker.pattern.shape) == (palette.KEPT, "")
    (line,) = figure.layout.shapes
    assert (line.x0, line.x1, line.line.color) == (2.0, 2.0, palette.THRESHOLD)
    assert "1 without a finite score" in charts.alt(figure)
    assert not charts.score_histogram(scores, kept).layout.shapes


@pytest.mark.parametrize("scores", [np.ones(4), np.array([2.5]), np.zeros(0)])
def test_histograms_of_odd_scores(scores: np.ndarray) -> None:
    figure = charts.score_histogram(scores, np.ones(scores.shape, bool))
    assert sum(figure.data[1].y) == scores.size


def test_overlaid_weights_share_bins_and_tell_zeros() -> None:
    figure = charts.weight_histograms({"dense": WEIGHT, "pruned": WEIGHT * KEPT})
    dense, pruned = figure.data
    assert np.array_equal(dense.x, pruned.x)
    assert (sum(dense.y), sum(pruned.y)) == (23, 11)
    assert pruned.name == "pruned, 54.2% zeros"
    assert (dense.line.color, dense.line.dash) != (pruned.line.color, pruned.line.dash)
    assert (dense.line.dash, pruned.line.dash) == ("solid", "dash")


def test_a_layer_pruned_whole_still_draws() -> None:
    assert sum(charts.weight_histograms({"pruned": np.zeros(9)}).data[0].y) == 0


def test_sensitivity_curves_are_sorted_banded_and_marked() -> None:
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


def band(sparsity: float, top1: float, images: int, achieved: float | None = None) -> Band:
    gone = sparsity if achieved is None else achieved
    return Band(
        "a", "filter", sparsity, gone, top1, (top1 - 0.1, top1 + 0.05), images, 100, ("a", "b")
    )


def test_estimated_curves_are_hollow_banded_and_say_on_how_many_images() -> None:
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


def test_of_many_layers_the_deepest_have_bands_or_the_focus_its_own() -> None:
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

    assert shown(8) == [f"l{n} band" for n in range(8)]
    assert shown(16) == [f"l{n} band" for n in range(8, 16)]
    assert shown(16, "l3") == ["l3 band"]
    scanned = charts.sensitivity_curves(points(12))
    assert sum(each.name.endswith("band") for each in scanned.data) == 8


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


def test_layers_cut_together_share_a_curve_and_a_bar() -> None:
    curves = [
        tied(name, s, a) for name in ("a", "b") for s, a in ((0.0, 0.0), (0.1, 0.0), (0.5, 0.5))
    ]
    alone = [
        SensitivityPoint("c", "filter", s, s, 1.0, 0.9, 100, (0.0, 1.0), 0.0, (-0.02, 0.02))
        for s in (0.0, 0.5)
    ]
    figure = charts.sensitivity_curves([*curves, *alone], 0.9, {"a": 0.5, "b": 0.1}, focus="b")
    shown = trace(figure, "a + 1 tied")
    assert len([each for each in figure.data if each.showlegend is not False]) == 2
    assert list(shown.marker.symbol) == ["circle", "circle-open", "circle"], (
        "hollow where nothing was removed"
    )
    assert shown.customdata[1][0] == "nothing removed: no whole group goes"
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
    assert len({each.line.color for each in figure.data}) == 12
    accuracy = charts.sensitivity_curves(points(12), focus="l3")
    assert [each.name for each in accuracy.data if each.name.endswith("band")] == ["l3 band"]


def test_charts_that_fill_while_work_goes_on_begin_empty() -> None:
    assert charts.alt(charts.sensitivity_curves([])) == "Sensitivity of 0 layers, 0 points."
    assert charts.alt(charts.training_curves([])) == "Training: no epoch is done yet."
    assert [each.name for each in charts.training_curves([Step(1, 1, 5, 2.0)]).data] == [
        "batch loss"
    ]
    early = charts.training_curves([Step(1, 1, 5, 2.0)], {"dense": 0.9})
    assert [note.text for note in early.layout.annotations] == ["dense 90.0%"], (
        "before the first epoch too"
    )


def test_training_curves_run_over_epochs_and_star_the_best() -> None:
    figure = charts.training_curves(
        [*events(3, 2), "something else"], {"dense": 0.95, "pruned": 0.3}
    )
    assert trace(figure, "batch loss").x.tolist() == [0.5, 1, 1.5, 2, 2.5, 3]
    accuracy = trace(figure, "validation accuracy")
    assert np.allclose(accuracy.y, [60, 70, 80])
    assert np.allclose(accuracy.error_y.array, 1)
    assert np.allclose(accuracy.error_y.arrayminus, 2)
    assert list(trace(figure, "best epoch").x) == [1], "the last epoch that was the best so far"
    assert figure.layout.xaxis2.range is None
    whole = charts.training_curves(events(3, 2), epochs=10).layout
    assert whole.xaxis.range == whole.xaxis2.range == pytest.approx((-0.3, 10.3)), (
        "room for what is to come"
    )
    assert [note.text for note in figure.layout.annotations] == ["dense 95.0%", "pruned 30.0%"]


def test_long_trainings_are_thinned_by_means() -> None:
    figure = charts.training_curves(Step(1, n + 1, 4000, float(n % 2)) for n in range(4000))
    losses = trace(figure, "batch loss")
    assert len(losses.x) <= 1500
    assert np.mean(losses.y) == pytest.approx(0.5, abs=0.01)


def test_comparison_bars_carry_interval_number_and_pattern() -> None:
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


def test_class_changes_are_sorted_signed_and_patterned() -> None:
    figure = charts.class_change(
        ["cat", "dog", "eel", "fox"], [0.5, 0.9, None, 0.5], [0.6, 0.7, 0.4, 0.5]
    )
    (bars,) = figure.data
    assert list(bars.y) == ["dog", "fox", "cat"]
    low, high = figure.layout.xaxis.range
    assert (low, high) == pytest.approx((-26, 16)), "as far as the bars and their numbers go"
    assert np.allclose(bars.x, [-20, 0, 10])
    assert list(bars.text) == ["-20.0", "+0.0", "+10.0"]
    assert list(bars.marker.pattern.shape) == ["/", "", ""]
    assert bars.marker.line.color == (palette.LOSS, palette.GAIN, palette.GAIN)
    assert (
        charts.alt(figure)
        == "Change per class from dense to fine-tuned: the most lost is -20.0 points (dog)."
    )
    with pytest.raises(ValueError, match="zip"):
        charts.class_change(["a"], [0.1, 0.2], [0.1])


def test_no_class_with_images_is_no_error() -> None:
    assert "no class lost" in charts.alt(charts.class_change(["a"], [None], [0.5]))
