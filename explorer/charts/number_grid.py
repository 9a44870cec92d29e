"""Small matrices of numbers as HTML tables, side by side, with signs between them.

Texts are escaped. Lines and tints have the same colour in light and dark mode; numbers have the
page's colour, or the one of two that is easier to read on their own colour.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

import numpy as np

from explorer.charts.palette import CHOSEN, DIVERGING, KEPT, PRUNED, contrast, ramp, translucent

DARK_INK = "#000000"
LIGHT_INK = "#FFFFFF"
STYLE = f"""<style>
.pe-grids {{
  display: flex; flex-wrap: wrap; gap: 0.5rem 0.7rem; align-items: center; margin: 0.5rem 0;
}}
.pe-grids .sign {{
  font-size: 1.35rem; padding-top: 1.4rem; min-width: 1.2rem; text-align: center;
  white-space: nowrap;
}}
.pe-grids table {{
  border-collapse: separate; border-spacing: 2px; font-size: 0.87rem; margin: 0;
}}
.pe-grids caption {{
  caption-side: top; text-align: left; font-size: 0.87rem; padding: 0 0 0.2rem 2px;
  white-space: nowrap;
}}
.pe-grids td {{
  min-width: 2.2rem; height: 1.75rem; padding: 0 0.3rem; text-align: center; border-radius: 3px;
  font-variant-numeric: tabular-nums; border: 1px solid {translucent(PRUNED, 0.35)};
}}
.pe-grids.large {{ flex-wrap: nowrap; overflow-x: auto; padding: 0 3px 3px 0; }}
.pe-grids.large td {{ min-width: 3.3rem; height: 2.35rem; }}
.pe-grids.strip td {{ min-width: min(1.7rem, (100vw - 4rem) / 26); padding: 0 0.2rem; }}
.pe-grids td.kept {{ background: {translucent(KEPT, 0.2)}; border-color: {KEPT}; }}
.pe-grids td.removed {{
  background: repeating-linear-gradient(
    45deg, {translucent(PRUNED, 0.14)} 0 4px, {translucent(PRUNED, 0.36)} 4px 5px);
}}
.pe-grids td.later {{ border-style: dashed; }}
.pe-grids td.later span {{ visibility: hidden; }}
.pe-grids td.chosen {{ outline: 2.5px solid {CHOSEN}; outline-offset: 0; }}
</style>"""


class Cell(NamedTuple):
    """A number as text. fill: its own colour "#RRGGBB". looks: kept, removed, later or chosen."""

    text: str
    fill: str = ""
    looks: str = ""


@dataclass(frozen=True)
class Grid:
    """A matrix with its name above it."""

    title: str
    rows: Sequence[Sequence[Cell]]


def grids(parts: Sequence[Grid | str], look: str = "") -> str:
    """Matrices and the signs between them in one row. look: large, strip, or neither."""
    items = "".join(
        _table(part)
        if isinstance(part, Grid)
        else f'<span class="sign" aria-hidden="true">{escape(part)}</span>'
        for part in parts
    )
    return f'<div class="pe-grids {look}">{items}</div>'


def figure(rows: Sequence[str]) -> str:
    """Rows below each other."""
    return f"{STYLE}{''.join(rows)}"


def colours(values: np.ndarray, limit: float) -> np.ndarray:
    """The colour "#RRGGBB" of each value, from -limit to limit in DIVERGING."""
    steps = ramp(DIVERGING, 256)
    level = np.clip((values / limit + 1) / 2, 0, 1)
    flat = ["#{:02X}{:02X}{:02X}".format(*steps[round(255 * part)]) for part in level.ravel()]
    return np.array(flat, object).reshape(values.shape)


def coloured(values: np.ndarray, limit: float, kept: np.ndarray | None = None) -> list[list[Cell]]:
    """Numbers with two digits on the colour of their value. kept: others are shown as removed."""
    fills = colours(values, limit)
    keep = np.ones(values.shape, bool) if kept is None else kept
    return [
        [
            Cell(number(value), fill) if stays else Cell("0", looks="removed")
            for value, fill, stays in zip(*row, strict=True)
        ]
        for row in zip(values, fills, keep, strict=True)
    ]


def number(value: float) -> str:
    """-0.123 -> "−0.12", with the sign that is as wide as a digit."""
    return f"{value:.2f}".replace("-", "−")


def _table(grid: Grid) -> str:
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in grid.rows)
    return f"<table><caption>{escape(grid.title)}</caption><tbody>{rows}</tbody></table>"


def _cell(cell: Cell) -> str:
    ink = max((DARK_INK, LIGHT_INK), key=lambda colour: contrast(colour, cell.fill or LIGHT_INK))
    look = f' style="background: {cell.fill}; color: {ink}"' if cell.fill else ""
    names = f' class="{cell.looks}"' if cell.looks else ""
    return f"<td{names}{look}><span>{escape(cell.text)}</span></td>"
