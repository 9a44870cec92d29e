"""Bars of single outputs, dense and pruned."""

import numpy as np
import pytest

from explorer.charts import alt, unit_bars


def test_two_bars_per_output_and_the_largest_change() -> None:
    figure = unit_bars(["cat", "dog"], np.array([1.0, 2.0]), np.array([1.5, -2.0]))
    assert [(bar.name, list(bar.x), list(bar.y)) for bar in figure.data] == [
        ("dense", [1.0, 2.0], ["cat", "dog"]),
        ("pruned", [1.5, -2.0], ["cat", "dog"]),
    ]
    assert figure.data[0].marker.pattern.shape != figure.data[1].marker.pattern.shape
    assert alt(figure) == "Outputs of 2 units, dense and pruned: dog changes most, by 4."


def test_names_and_outputs_have_the_same_length() -> None:
    with pytest.raises(ValueError, match="longer"):
        unit_bars(["cat"], np.zeros(2), np.zeros(2))
