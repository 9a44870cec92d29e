"""Loss and accuracy over epochs."""

import numpy as np
import pytest

from explorer import charts
from pruning_core.types import Step
from tests.explorer.charts.example_data import events, trace


def test_before_the_first_epoch_there_are_losses_and_references() -> None:
    assert charts.alt(charts.training_curves([])) == "Training: no epoch is finished yet."
    assert [each.name for each in charts.training_curves([Step(1, 1, 5, 2.0)]).data] == [
        "batch loss"
    ]
    early = charts.training_curves([Step(1, 1, 5, 2.0)], {"dense": 0.9})
    assert [note.text for note in early.layout.annotations] == ["dense 90.0%"], (
        "before the first epoch too"
    )


def test_training_curves_are_over_epochs_with_a_star_at_the_best() -> None:
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
        "the axis has its final length"
    )
    assert [note.text for note in figure.layout.annotations] == ["dense 95.0%", "pruned 30.0%"]


def test_every_tick_is_a_whole_epoch() -> None:
    for axis in (
        charts.training_curves(events(1, 2), epochs=1).layout.xaxis2,
        charts.training_curves(events(3, 2)).layout.xaxis,
        charts.training_curves([Step(1, 1, 5, 2.0)]).layout.xaxis2,
    ):
        assert (axis.dtick, axis.tickformat) == (1, "d")
    assert charts.training_curves([], epochs=100).layout.xaxis2.dtick is None, "not 100 ticks"


def test_the_losses_of_long_trainings_are_averaged() -> None:
    figure = charts.training_curves(Step(1, n + 1, 4000, float(n % 2)) for n in range(4000))
    losses = trace(figure, "batch loss")
    assert len(losses.x) <= 1500
    assert np.mean(losses.y) == pytest.approx(0.5, abs=0.01)
