"""Charts of masks over time: each weight's state, and what each mask update removed."""

from dataclasses import replace

import numpy as np
import torch

from explorer.charts import WEIGHT_STATES, alt, mask_over_time, mask_update_chart, weight_states
from pruning_core.flows import History, packed
from tests.explorer.charts.example_data import evaluation


def history() -> History:
    masks = ([1, 1, 1, 1], [1, 0, 0, 1], [1, 1, 0, 0])
    return History(
        "w",
        (1, 4, 1, 1),
        tuple(packed(torch.tensor(bits, dtype=torch.bool).view(1, 4, 1, 1)) for bits in masks),
    )


def test_every_weight_has_a_state_at_each_frame() -> None:
    names = [name for name, _ in WEIGHT_STATES]
    shown = [[names[k] for k in weight_states(history(), frame).ravel()] for frame in range(3)]
    assert shown[0] == ["never removed"] * 4
    assert shown[1] == ["never removed", "removed now", "removed now", "never removed"]
    assert shown[2] == ["never removed", "restored", "removed earlier", "removed now"]


def test_the_charts_say_what_they_show() -> None:
    figure = mask_over_time(history(), 2)
    assert np.asarray(figure.data[0].z).shape == (1, 4)
    assert "1 restored" in alt(figure)
    assert [trace.name for trace in figure.data[1:]] == [f"{name}: 1" for name, _ in WEIGHT_STATES]
    assert list(figure.data[0].text[0]) == [f"output 0, input {k}" for k in range(4)]
    measured = [
        replace(evaluation(0.9), interval=(0.85, 0.94)),
        replace(evaluation(0.8), interval=(0.7, 0.85)),
    ]
    curve = mask_update_chart([0.0, 0.5], measured, [0.0, 0.7], "w")
    assert [list(trace.y) for trace in curve.data] == [[0, 50], [0, 70], [90, 80]]
    whiskers = curve.data[2].error_y
    assert np.allclose([whiskers.array, whiskers.arrayminus], [[4, 5], [5, 10]])
    assert curve.layout.xaxis2.dtick == 1, "a mask update has a whole number"
    assert "50.0% removed and top-1 80.0% after the last of 1 mask updates" in alt(curve)
