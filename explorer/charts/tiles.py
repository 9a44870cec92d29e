"""A weight tensor as a picture: filters x channels of k x k tiles, with gaps at the borders of the
groups.

The picture of an O I H W tensor has O*H rows, (o, h), and I*W columns, (i, w); so a convolution is
a grid of its kernels and a Linear layer is its matrix. Pure numpy: drawing is `charts` (cells with
hover) and `raster` (pixels).
"""

from dataclasses import dataclass

import numpy as np

TILE_GAP = 0.125
GROUP_GAP = 0.5


@dataclass(frozen=True, eq=False)
class Tiles:
    """A picture with its gaps.

    values: R x C, NaN in gaps; rows: R x 2, the (o, h) of each picture row, -1 in gaps; cols: C x
    2, the (i, w) of each column; row_edges, col_edges: R+1 and C+1 borders of the cells, in cells
    (a gap is thinner than a cell); shape: O I H W; row_lines, col_lines: for each pair of
    neighbouring cell rows (columns), does a group border run along the whole line between them?
    """

    values: np.ndarray
    rows: np.ndarray
    cols: np.ndarray
    row_edges: np.ndarray
    col_edges: np.ndarray
    shape: tuple[int, int, int, int]
    row_lines: np.ndarray
    col_lines: np.ndarray

    @property
    def cells(self) -> np.ndarray:
        """The picture without its gaps."""
        return self.values[np.ix_(self.rows[:, 0] >= 0, self.cols[:, 0] >= 0)]


def tile(weight: np.ndarray, group_ids: np.ndarray) -> Tiles:
    """The picture of a weight, gaps where no group reaches across the line. weight, group_ids: O I
    H W, one id per group.

    Group gaps are drawn only where groups form pieces of more than one cell; tile gaps, thin,
    wherever kernels are larger than 1. Raises ValueError when the shapes differ or are not O I H W.
    """
    if weight.ndim != 4 or weight.shape != group_ids.shape:
        raise ValueError(
            f"A picture needs O I H W weights and ids of one shape, not {weight.shape} and {group_ids.shape}."
        )
    ids = flat(group_ids)
    down = ids[1:] == ids[:-1]
    across = ids[:, 1:] == ids[:, :-1]
    pieces = bool(down.any() or across.any())
    row_lines = ~down.any(axis=1) & pieces
    col_lines = ~across.any(axis=0) & pieces
    o, i, h, w = weight.shape
    (rows, row_edges), (cols, col_edges) = _axis(o * h, h, row_lines), _axis(i * w, w, col_lines)
    return Tiles(
        _spread(rows, cols, flat(weight), np.nan),
        rows,
        cols,
        row_edges,
        col_edges,
        (o, i, h, w),
        row_lines,
        col_lines,
    )


def lay(tiles: Tiles, array: np.ndarray, fill: float = np.nan) -> np.ndarray:
    """Another O I H W array (scores, mask, ids) on the same picture, as float32; `fill` in gaps.

    Raises ValueError when the shape is not the picture's.
    """
    if array.shape != tiles.shape:
        raise ValueError(f"The picture is of a {tiles.shape} tensor, not of {array.shape}.")
    return _spread(tiles.rows, tiles.cols, flat(array).astype(np.float32), fill)


def flat(array: np.ndarray) -> np.ndarray:
    """O I H W -> (O H) x (I W)."""
    o, i, h, w = array.shape
    return array.transpose(0, 2, 1, 3).reshape(o * h, i * w)


def _spread(rows: np.ndarray, cols: np.ndarray, cells: np.ndarray, fill: float) -> np.ndarray:
    picture = np.full((len(rows), len(cols)), fill, np.float32)
    picture[np.ix_(rows[:, 0] >= 0, cols[:, 0] >= 0)] = cells
    return picture


def _axis(count: int, step: int, lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices (n x 2, -1 in gaps) and edges of one axis of `count` cells; kernels are `step` long."""
    gaps = GROUP_GAP * lines + TILE_GAP * ((np.arange(1, count) % step == 0) & (step > 1))
    at = np.arange(count) + np.concatenate([[0], np.cumsum(gaps > 0)]).astype(int)
    indices = np.full((at[-1] + 1, 2), -1)
    indices[at] = np.stack(np.divmod(np.arange(count), step), axis=1)
    widths = np.ones(len(indices))
    widths[indices[:, 0] < 0] = gaps[gaps > 0]
    return indices, np.concatenate([[0.0], np.cumsum(widths)])
