"""Weights as square cells, laid out as in the mask lab: filters downwards, channels across."""

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from explorer.charts.tiles import flat
from explorer.texts.translate import _

MAX_CELLS = 400_000
"""A picture of more weights shows the first filters only."""
MAX_LABELLED = 8_000
"""A picture of more cells has no label for each cell."""
KERNEL_GAP = 0.35
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


def square_cells(weight: np.ndarray) -> Cells:
    """An O I H W array as a picture. Above `MAX_CELLS` numbers: as many first filters as fit."""
    shown = weight[: max(1, MAX_CELLS // max(1, weight[0].size))]
    o, i, h, w = shown.shape
    rows, y = _axis(o * h, h)
    cols, x = _axis(i * w, w)
    values = np.full((len(rows), len(cols)), np.nan)
    values[np.ix_(rows >= 0, cols >= 0)] = flat(shown)
    few = shown.size <= MAX_LABELLED
    return Cells(values, x, y, _labels(rows, cols, h, w) if few else None)


def _axis(count: int, kernel: int) -> tuple[np.ndarray, np.ndarray]:
    """The index of the cell at each position of an axis (-1: a gap), and the borders.

    kernel: the number of cells between two gaps.
    """
    indices = [0]
    borders = [0.0, 1.0]
    for index in range(1, count):
        if kernel > 1 and index % kernel == 0:
            indices.append(-1)
            borders.append(borders[-1] + KERNEL_GAP)
        indices.append(index)
        borders.append(borders[-1] + 1)
    return np.array(indices), np.array(borders)


def _labels(rows: np.ndarray, cols: np.ndarray, height: int, width: int) -> np.ndarray:
    """The label of each cell: filter, input channel, and row and column in the kernel."""
    labels = np.full((len(rows), len(cols)), "", dtype=object)
    for r in np.flatnonzero(rows >= 0):
        for c in np.flatnonzero(cols >= 0):
            labels[r, c] = _label(int(cols[c]), int(rows[r]), height, width)
    return labels


def _label(across: int, down: int, height: int, width: int) -> str:
    if height * width == 1:
        return _("output {output}, input {input}", output=down, input=across)
    return _(
        "filter {filter}, input {input}, row {row}, column {column}",
        filter=down // height,
        input=across // width,
        row=down % height,
        column=across % width,
    )
