"""Weights as square cells: kernels side by side, filters downwards.

Filters are folded into as many columns as make a wide picture.
"""

from dataclasses import dataclass
from math import log

import numpy as np
import plotly.graph_objects as go

from explorer.texts.translate import _

MAX_CELLS = 400_000
"""A picture of more weights shows the first filters only."""
MAX_LABELLED = 8_000
"""A picture of more cells has no label for each cell."""
ASPECT = 0.45
"""The wanted height of a picture, as a fraction of its width."""
KERNEL_GAP = 0.35
COLUMN_GAP = 1.0
STRIP = 0.1
"""A picture with a smaller ratio of height to width has no square cells."""
WIDTH = 900
"""The approximate width of a picture on a large screen, in pixels."""


@dataclass(frozen=True, eq=False)
class Cells:
    """A picture of a weight tensor.

    values: R x C, NaN in gaps.
    x, y: borders of the columns and rows, in cells.
    labels: R x C texts, the position of each cell; None for a large layer.
    """

    values: np.ndarray
    x: np.ndarray
    y: np.ndarray
    labels: np.ndarray | None

    def heatmap(self, **look: object) -> go.Heatmap:
        """The picture as a trace. look: colours and hover text; %{text} is the cell's label."""
        return go.Heatmap(z=self.values, x=self.x, y=self.y, text=self.labels, **look)

    def frame(self, figure: go.Figure) -> int:
        """Hides the axes and makes the cells square, unless the picture is a narrow strip.

        Returns the height for a large screen, in pixels.
        """
        ratio = float(self.y[-1] / self.x[-1])
        figure.update_xaxes(visible=False, constrain="domain")
        figure.update_yaxes(
            visible=False,
            constrain="domain",
            autorange="reversed",
            scaleanchor="x" if ratio > STRIP else None,
        )
        return min(640, max(180, 60 + round(WIDTH * ratio)))


def fold(weight: np.ndarray) -> Cells:
    """An O I H W array as a picture. Above `MAX_CELLS` numbers: as many first filters as fit."""
    shown = weight[: max(1, MAX_CELLS // max(1, weight[0].size))]
    o, i, h, w = shown.shape
    columns = _column_count(o, h, i * w)
    per_column = -(-o // columns)
    padded = np.full((columns * per_column, i, h, w), np.nan)
    padded[:o] = shown
    cells = (
        padded.reshape(columns, per_column, i, h, w)
        .transpose(1, 3, 0, 2, 4)
        .reshape(per_column * h, columns * i * w)
    )
    rows, y = _axis(per_column * h, h, per_column * h)
    cols, x = _axis(columns * i * w, w, i * w)
    values = np.full((len(rows), len(cols)), np.nan)
    values[np.ix_(rows >= 0, cols >= 0)] = cells
    few = shown.size <= MAX_LABELLED
    return Cells(values, x, y, _labels(rows, cols, per_column, (o, i, h, w)) if few else None)


def _column_count(filters: int, height: int, width: int) -> int:
    """The number of columns of filters for which the picture is nearest to `ASPECT`."""

    def distance(columns: int) -> float:
        ratio = -(-filters // columns) * height / (columns * width)
        return abs(log(ratio / ASPECT))

    options = {-(-filters // per_column) for per_column in range(1, filters + 1)}
    return min(options, key=lambda columns: (distance(columns), columns))


def _axis(count: int, kernel: int, column: int) -> tuple[np.ndarray, np.ndarray]:
    """The index of the cell at each position of an axis (-1: a gap), and the borders.

    kernel, column: the number of cells between two gaps of that kind.
    """
    indices = [0]
    borders = [0.0, 1.0]
    for index in range(1, count):
        gap = 0.0
        if index % column == 0:
            gap = COLUMN_GAP
        elif kernel > 1 and index % kernel == 0:
            gap = KERNEL_GAP
        if gap:
            indices.append(-1)
            borders.append(borders[-1] + gap)
        indices.append(index)
        borders.append(borders[-1] + 1)
    return np.array(indices), np.array(borders)


def _labels(
    rows: np.ndarray, cols: np.ndarray, per_column: int, shape: tuple[int, int, int, int]
) -> np.ndarray:
    """The label of each cell: filter, input channel, and row and column in the kernel."""
    o, i, h, w = shape
    labels = np.full((len(rows), len(cols)), "", dtype=object)
    for r in np.flatnonzero(rows >= 0):
        for c in np.flatnonzero(cols >= 0):
            column, across = divmod(int(cols[c]), i * w)
            number = column * per_column + rows[r] // h
            if number < o:
                labels[r, c] = _label(number, across, int(rows[r]), h, w)
    return labels


def _label(number: int, across: int, down: int, height: int, width: int) -> str:
    if height * width == 1:
        return _("output {output}, input {input}", output=number, input=across)
    return _(
        "filter {filter}, input {input}, row {row}, column {column}",
        filter=number,
        input=across // width,
        row=down % height,
        column=across % width,
    )
