"""The common look of all figures."""

from collections.abc import Callable

import numpy as np
import plotly.graph_objects as go
import pytest
from plotly.subplots import make_subplots

from explorer import charts
from explorer.charts.style import finish, label_ends
from tests.explorer.charts.example_data import band, evaluation, events, points

WEIGHT = np.arange(-3.0, 3.0, 0.25)

FIGURES = {
    "distributions": lambda: charts.weight_histograms(
        {"dense": WEIGHT, "tuned": WEIGHT * (WEIGHT > 0)}
    ),
    "sensitivity": lambda: charts.sensitivity_curves(points(3), 0.9, {"l0": 0.5}),
    "preview": lambda: charts.preview_curves([band(0.0, 0.9, 100), band(0.5, 0.6, 10)], 0.9),
    "training": lambda: charts.training_curves(events(2, 3), {"dense": 0.9}),
    "comparison": lambda: charts.comparison_bars(
        {"dense": evaluation(0.9), "pruned": evaluation(0.4)}
    ),
    "classes": lambda: charts.class_change(["a", "b"], [0.5, 0.5], [0.4, 0.7]),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES)
def test_every_figure_is_transparent_and_has_a_sentence(make: Callable[[], go.Figure]) -> None:
    figure = make()
    assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == "rgba(0, 0, 0, 0)"
    assert figure.layout.uirevision
    assert charts.alt(figure).endswith(".")
    assert figure.layout.font.color is None, "the page's own text colour"
    assert len(figure.to_json()) > 100


@pytest.mark.parametrize(("name", "lines"), [("sensitivity", 1), ("training", 3), ("classes", 0)])
def test_the_margin_has_room_for_the_legend_of_a_narrow_chart(name: str, lines: int) -> None:
    """Else Plotly draws the legend over the plot after a change of the window's width."""
    layout = FIGURES[name]().layout
    assert layout.margin.t == (20 * (1 + lines) if lines else 28)
    assert (layout.legend.yref, layout.legend.y, layout.legend.yanchor) == ("container", 1, "top")


def test_a_name_does_not_cover_the_end_of_another_curve() -> None:
    """Names stand at the right of every end that is as high; others at their own."""
    figure = go.Figure(go.Scatter(x=[1, 9], y=[1, 0]))
    label_ends(figure, [("a", 5, 0.2, "red"), ("b", 9, 0.2, "blue"), ("c", 5, 0.9, "grey")])
    assert {note.text: note.x for note in figure.layout.annotations} == {"a": 9, "b": 9, "c": 5}


def test_robust_limit_is_common_and_never_zero() -> None:
    assert charts.robust_limit(np.zeros(5)) == 1.0
    assert charts.robust_limit(np.array([np.nan])) == 1.0
    assert charts.robust_limit(np.ones(3), np.full(300, -2.0)) == 2.0


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES)
def test_the_common_look_is_valid_and_over_what_the_figure_has(
    make: Callable[[], go.Figure],
) -> None:
    """`finish` sets it without Plotly's checks."""
    figure = make()
    checked = go.Figure(figure.to_dict())
    assert checked.to_dict() == figure.to_dict()
    for axis in (*checked.select_xaxes(), *checked.select_yaxes()):
        assert (axis.ticks, axis.title.standoff) == ("outside", 14)


def test_the_common_look_keeps_what_it_does_not_set() -> None:
    figure = make_subplots(2, 1, shared_xaxes=True)
    figure.add_scatter(x=[1], y=[2], row=2, col=1)
    figure.update_yaxes(title_text="loss", ticklen=9, row=2, col=1)
    figure.update_layout(margin_pad=3, legend_font_size=9)
    layout = finish(figure, "One point.", 300, "revision").layout
    assert (layout.yaxis2.title.text, layout.yaxis2.title.standoff) == ("loss", 14)
    assert (layout.yaxis2.ticklen, layout.xaxis.matches) == (4, "x2")
    assert (layout.margin.pad, layout.margin.b, layout.legend.font.size) == (3, 8, 9)
    assert (layout.height, layout.uirevision) == (300, "revision")
