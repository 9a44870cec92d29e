"""The layout of a weight tensor as a picture, with gaps between kernels and between groups.

The picture of an O I H W tensor has O*H rows, (o, h), and I*W columns, (i, w). A convolution is a
grid of its kernels, and a Linear layer is its matrix. `raster` makes pixels of it.
"""

from dataclasses import dataclass

import numpy as np

TILE_GAP = 0.125
GROUP_GAP = 0.5


@dataclass(frozen=True, eq=False)
class Tiles:
    """A picture with its gaps.

    values: R x C, NaN in gaps.
    rows: R x 2, the (o, h) of each picture row; -1 in gaps.
    cols: C x 2, the (i, w) of each picture column; -1 in gaps.
    row_edges, col_edges: R+1 and C+1 borders, in cells; a gap is thinner than a cell.
    shape: O I H W.
    row_lines, col_lines: for each pair of neighbouring cell rows (columns), whether no group is on
    both sides of the line between them.
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
    """The picture of a weight. weight, group_ids: O I H W; each group has its own id.

    A wide gap is at each line that no group crosses, if some groups have neighbouring cells. A thin
    gap is between kernels larger than 1. Raises ValueError when the shapes differ or are not
    O I H W.
    """
    if weight.ndim != 4 or weight.shape != group_ids.shape:
        raise ValueError(
            "A picture needs O I H W weights and ids of one shape, "
            f"not {weight.shape} and {group_ids.shape}."
        )
    ids = flat(group_ids)
    same_down = ids[1:] == ids[:-1]
    same_across = ids[:, 1:] == ids[:, :-1]
    has_neighbours = bool(same_down.any() or same_across.any())
    row_lines = ~same_down.any(axis=1) & has_neighbours
    col_lines = ~same_across.any(axis=0) & has_neighbours
    o, i, h, w = weight.shape
    rows, row_edges = _axis(o * h, h, row_lines)
    cols, col_edges = _axis(i * w, w, col_lines)
    return Tiles(
        values=_insert_gaps(rows, cols, flat(weight), np.nan),
        rows=rows,
        cols=cols,
        row_edges=row_edges,
        col_edges=col_edges,
        shape=(o, i, h, w),
        row_lines=row_lines,
        col_lines=col_lines,
    )


def lay(tiles: Tiles, array: np.ndarray, fill: float = np.nan) -> np.ndarray:
    """Another O I H W array (scores, mask, ids) in the same layout, as float32; `fill` in gaps.

    Raises ValueError when the shape is not the picture's.
    """
    if array.shape != tiles.shape:
        raise ValueError(f"The picture is of a {tiles.shape} tensor, not of {array.shape}.")
    return _insert_gaps(tiles.rows, tiles.cols, flat(array).astype(np.float32), fill)


def flat(array: np.ndarray) -> np.ndarray:
    """O I H W -> (O H) x (I W)."""
    o, i, h, w = array.shape
    return array.transpose(0, 2, 1, 3).reshape(o * h, i * w)


def _insert_gaps(rows: np.ndarray, cols: np.ndarray, cells: np.ndarray, fill: float) -> np.ndarray:
    picture = np.full((len(rows), len(cols)), fill, np.float32)
    picture[np.ix_(rows[:, 0] >= 0, cols[:, 0] >= 0)] = cells
    return picture


def _axis(count: int, step: int, lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices (n x 2, -1 in gaps) and edges of an axis of `count` cells with kernels of `step`."""
    gaps = GROUP_GAP * lines + TILE_GAP * ((np.arange(1, count) % step == 0) & (step > 1))
    positions = np.arange(count) + np.concatenate([[0], np.cumsum(gaps > 0)]).astype(int)
    indices = np.full((positions[-1] + 1, 2), -1)
    indices[positions] = np.stack(np.divmod(np.arange(count), step), axis=1)
    widths = np.ones(len(indices))
    widths[indices[:, 0] < 0] = gaps[gaps > 0]
    return indices, np.concatenate([[0.0], np.cumsum(widths)])
