"""Weights as square cells: a filter's kernels side by side, filters downwards, in as many columns
as fill a wide picture.
"""

from dataclasses import dataclass
from math import log

import numpy as np
import plotly.graph_objects as go

MOST_CELLS = 400_000
MOST_NAMED = 8_000
ASPECT = 0.45
"""Wanted height of a picture, as a share of its width."""
KERNEL_GAP = 0.35
COLUMN_GAP = 1.0
STRIP = 0.1
WIDE = 900
"""Pixels that a picture is about wide on a large screen."""


@dataclass(frozen=True, eq=False)
class Cells:
    """values: R x C, NaN in gaps; x, y: borders of columns and rows, in cells; places: words for
    each cell of a small layer.
    """

    values: np.ndarray
    x: np.ndarray
    y: np.ndarray
    places: np.ndarray | None

    def heatmap(self, **look: object) -> go.Heatmap:
        """The picture as a trace. look: colours and hover text, which may use %{text} for the
        cell's place.
        """
        return go.Heatmap(z=self.values, x=self.x, y=self.y, text=self.places, **look)

    def frame(self, figure: go.Figure) -> int:
        """No axes, and square cells unless the picture is a mere strip; returns the height in
        pixels for a large screen.
        """
        high = self.y[-1] / self.x[-1]
        figure.update_xaxes(visible=False, constrain="domain")
        figure.update_yaxes(
            visible=False,
            constrain="domain",
            autorange="reversed",
            scaleanchor="x" if high > STRIP else None,
        )
        return int(min(640, max(180, 60 + round(WIDE * high))))


def folded(weight: np.ndarray) -> Cells:
    """O I H W numbers as a picture; of more than `MOST_CELLS` the first filters, so many as fit."""
    shown = weight[: max(1, MOST_CELLS // max(1, weight[0].size))]
    o, i, h, w = shown.shape
    columns = _columns(o, h, i * w)
    each = -(-o // columns)
    padded = np.full((columns * each, i, h, w), np.nan)
    padded[:o] = shown
    cells = (
        padded.reshape(columns, each, i, h, w)
        .transpose(1, 3, 0, 2, 4)
        .reshape(each * h, columns * i * w)
    )
    (rows, y), (cols, x) = _axis(each * h, h, each * h), _axis(columns * i * w, w, i * w)
    values = np.full((len(rows), len(cols)), np.nan)
    values[np.ix_(rows >= 0, cols >= 0)] = cells
    return Cells(
        values, x, y, _places(rows, cols, each, (o, i, h, w)) if shown.size <= MOST_NAMED else None
    )


def _columns(filters: int, height: int, width: int) -> int:
    """In how many columns of filters the picture comes nearest to `ASPECT`."""
    options = {-(-filters // each) for each in range(1, filters + 1)}
    return min(
        options, key=lambda k: (abs(log(-(-filters // k) * height / (k * width) / ASPECT)), k)
    )


def _axis(count: int, kernel: int, column: int) -> tuple[np.ndarray, np.ndarray]:
    """Which cell stands where along an axis (-1: a gap), and the borders. kernel, column: cells
    between gaps of either kind.
    """
    indices = [0]
    borders = [0.0, 1.0]
    for k in range(1, count):
        gap = (
            COLUMN_GAP if k % column == 0 else KERNEL_GAP if kernel > 1 and k % kernel == 0 else 0.0
        )
        if gap:
            indices.append(-1)
            borders.append(borders[-1] + gap)
        indices.append(k)
        borders.append(borders[-1] + 1)
    return np.array(indices), np.array(borders)


def _places(
    rows: np.ndarray, cols: np.ndarray, each: int, shape: tuple[int, int, int, int]
) -> np.ndarray:
    """The words for each cell: filter and channel, and where in the kernel."""
    o, i, h, w = shape
    words = np.full((len(rows), len(cols)), "", dtype=object)
    for r in np.flatnonzero(rows >= 0):
        for c in np.flatnonzero(cols >= 0):
            block, across = divmod(int(cols[c]), i * w)
            number = block * each + rows[r] // h
            if number < o:
                inside = f", row {rows[r] % h}, column {across % w}" if h * w > 1 else ""
                words[r, c] = (
                    f"{'filter' if h * w > 1 else 'output'} {number}, input {across // w}{inside}"
                )
    return words
