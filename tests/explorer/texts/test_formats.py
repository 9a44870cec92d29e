"""Numbers as text."""

import pytest

from explorer.texts.formats import count, percent, shape, signed, value_text, whole_percent
from pruning_core.tasks import CLASSIFICATION


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0.875, "87.5%"), (0.5, "50%"), (1, "100%"), (0, "0%"), (0.9999, "99.99%"), (0.0001, "0.01%")],
)
def test_percent_reaches_0_and_100_only_exactly(fraction: float, text: str) -> None:
    assert percent(fraction) == text


@pytest.mark.parametrize(
    ("fraction", "number"), [(0.54, 54), (1, 100), (0, 0), (0.999, 99), (0.001, 1)]
)
def test_whole_percent_reaches_0_and_100_only_exactly(fraction: float, number: int) -> None:
    assert whole_percent(fraction) == number


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.93, "93.0%"), (0.8754, "87.5%"), (1, "100.0%"), (0, "0.0%"), (0.99996, "99.996%")],
)
def test_a_value_has_one_digit_after_the_point_everywhere(value: float, text: str) -> None:
    assert value_text(value, CLASSIFICATION) == text


def test_a_change_has_a_sign_and_an_interval() -> None:
    assert signed(-0.0123, (-0.02, -0.005)) == "-1.2 points (95%: -2.0 to -0.5)"
    assert signed(0.0, (-0.01, 0.01)) == "+0.0 points (95%: -1.0 to +1.0)"
    assert signed(0.0, (0.0, 0.0)) == "no change"


@pytest.mark.parametrize(
    ("number", "text"),
    [(9_999, "9,999"), (12_345, "12.3 k"), (1_234_567, "1.23 M"), (2.5e9, "2.5 G")],
)
def test_counts_have_three_digits_and_a_unit(number: float, text: str) -> None:
    assert count(number) == text


def test_a_shape_has_its_sizes() -> None:
    assert shape((16, 3, 3, 3)) == "16 × 3 × 3 × 3"
