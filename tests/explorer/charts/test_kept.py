"""Figures that are drawn once."""

from collections.abc import Iterable, Iterator

import plotly.graph_objects as go
import pytest

from explorer import charts
from explorer.charts import kept
from explorer.session.kept_results import KeptResults
from explorer.texts import translate
from pruning_core.types import Evaluation
from tests.explorer.charts.example_data import evaluation, points


@pytest.fixture(autouse=True)
def _none_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_figures", KeptResults(kept.MOST))


def bars(value: float = 0.9) -> go.Figure:
    return charts.comparison_bars({"dense": evaluation(value)})


def test_equal_values_give_the_same_figure() -> None:
    figure = bars()
    assert bars() is figure
    assert bars(0.8) is not figure
    assert charts.sensitivity_curves(points(3)) is charts.sensitivity_curves(points(3))
    assert charts.sensitivity_curves(points(3)) is not charts.sensitivity_curves(points(3), 0.5)


def test_a_figure_is_of_one_function_and_of_one_language(monkeypatch: pytest.MonkeyPatch) -> None:
    @kept.kept
    def other(evaluations: dict[str, Evaluation]) -> go.Figure:
        return go.Figure()

    english = bars()
    assert other({"dense": evaluation(0.9)}) is not english
    monkeypatch.setattr(translate, "_current", [lambda: "zh"])
    chinese = bars()
    assert chinese is not english
    assert charts.alt(chinese) != charts.alt(english)


def test_what_cannot_be_pickled_is_drawn_each_time() -> None:
    drawn = []

    @kept.kept
    def draw(values: Iterable[float]) -> go.Figure:
        drawn.append(list(values))
        return go.Figure()

    def values() -> Iterator[float]:
        yield 1.0

    draw(values())
    draw(values())
    assert drawn == [[1.0], [1.0]]


def test_only_the_last_figures_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_figures", KeptResults(2))
    first = bars(0.1)
    second = bars(0.2)
    assert bars(0.1) is first
    bars(0.3)
    assert bars(0.1) is first
    assert bars(0.2) is not second
