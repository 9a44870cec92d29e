"""Matrices of numbers as HTML: escaped, and easy to read on every colour."""

import re

import numpy as np

from explorer.charts.number_grid import Cell, Grid, coloured, grids, number
from explorer.charts.palette import contrast


def test_texts_are_escaped_and_signs_are_between_the_matrices() -> None:
    grid = Grid("<b>", [[Cell("<i>", looks="kept")]])
    html = grids([grid, "×", grid], "large")
    assert "<b>" not in html
    assert "<i>" not in html
    assert html.index("<table>") < html.index("×") < html.rindex("<table>")
    assert 'class="kept"' in html


def test_numbers_are_readable_on_the_colour_of_every_value() -> None:
    values = np.linspace(-1, 1, 101)[None]
    html = grids([Grid("", coloured(values, 1.0))])
    looks = re.findall(r"background: (#\w+); color: (#\w+)", html)
    assert len(looks) == 101
    assert all(contrast(fill, ink) >= 4.5 for fill, ink in looks)
    assert number(-0.126) == "−0.13"


def test_removed_cells_say_zero() -> None:
    rows = coloured(np.ones((1, 2)), 1.0, np.array([[True, False]]))
    assert [cell.text for cell in rows[0]] == ["1.00", "0"]
    assert rows[0][1].looks == "removed"
