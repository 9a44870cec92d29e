"""Charts of the run history."""

from dataclasses import replace

import pytest

from explorer.charts.runs import cost_chart
from pruning_core.history.run import PROBE, TEST
from pruning_core.tasks import CLASSIFICATION
from tests.core.history.history_runs import example


@pytest.mark.parametrize(("split", "word"), [(TEST, "test"), (PROBE, "probe")])
def test_marks_and_the_dense_level_name_their_split_as_the_table_does(
    split: str, word: str
) -> None:
    run = example()
    values = {state: replace(value, split=split) for state, value in run.values.items()}
    figure = cost_chart([replace(run, values=values)], "macs", CLASSIFICATION)
    assert [mark.name for mark in figure.data] == [f"Fine-tune, {word}", "Pareto front"]
    assert [note.text for note in figure.layout.annotations] == [f"dense 90.0%, {word}"]
