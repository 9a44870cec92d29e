"""A weight tensor as a picture: filters x channels of k x k tiles, with gaps at the borders of the groups.

The picture of an O I H W tensor has O*H rows, (o, h), and I*W columns, (i, w); so a convolution is a grid of its kernels and a
Linear layer is its matrix. Pure numpy: drawing is `charts` (cells with hover) and `raster` (pixels).
"""

from dataclasses import dataclass, replace

import numpy as np

TILE_GAP = 0.125
GROUP_GAP = 0.5


@dataclass(frozen=True, eq=False)
class Tiles:
    """A picture with its gaps.

    values: R x C, NaN in gaps; rows: R x 2, the (o, h) of each picture row, -1 in gaps; cols: C x 2, the (i, w) of each column;
    row_edges, col_edges: R+1 and C+1 borders of the cells, in cells (a gap is thinner than a cell); shape: O I H W;
    factors: weights per cell, down and across (1, 1 unless reduced); row_lines, col_lines: for each pair of neighbouring cell
    rows (columns), does a group border run along the whole line between them?
    """

    values: np.ndarray
    rows: np.ndarray
    cols: np.ndarray
    row_edges: np.ndarray
    col_edges: np.ndarray
    shape: tuple[int, int, int, int]
    factors: tuple[int, int]
    row_lines: np.ndarray
    col_lines: np.ndarray

    @property
    def reduced(self) -> bool:
        """Does a cell stand for more than one weight?"""
        return self.factors != (1, 1)

    @property
    def cells(self) -> np.ndarray:
        """The picture without its gaps."""
        return self.values[np.ix_(self.rows[:, 0] >= 0, self.cols[:, 0] >= 0)]


def tile(weight: np.ndarray, group_ids: np.ndarray) -> Tiles:
    """The picture of a weight, gaps where no group reaches across the line. weight, group_ids: O I H W, one id per group.

    Group gaps are drawn only where groups form pieces of more than one cell; tile gaps, thin, wherever kernels are larger than 1.
    Raises ValueError when the shapes differ or are not O I H W.
    """
    if weight.ndim != 4 or weight.shape != group_ids.shape:
        raise ValueError(f"A picture needs O I H W weights and ids of one shape, not {weight.shape} and {group_ids.shape}.")
    ids = flat(group_ids)
    down, across = ids[1:] == ids[:-1], ids[:, 1:] == ids[:, :-1]
    pieces = bool(down.any() or across.any())
    row_lines, col_lines = ~down.any(axis=1) & pieces, ~across.any(axis=0) & pieces
    o, i, h, w = weight.shape
    return _arrange(flat(weight), (o, i, h, w), (1, 1), row_lines, col_lines)


def reduce(tiles: Tiles, max_cells: int) -> Tiles:
    """The picture in at most `max_cells` cells, gaps included: each cell the mean |weight| of a block of whole kernels.

    Group borders stay where blocks respect all of them. A picture that is small enough comes back as it is.
    Raises ValueError when max_cells < 1.
    """
    if max_cells < 1:
        raise ValueError(f"A picture has at least one cell, not {max_cells}.")
    if tiles.values.size <= max_cells or tiles.reduced:
        return tiles
    _, _, h, w = tiles.shape
    lengths, lines, steps = tiles.cells.shape, (tiles.row_lines, tiles.col_lines), (h, w)
    factors = [1, 1]
    while True:
        kept = [_kept_lines(lines[axis], factors[axis]) for axis in (0, 1)]
        sizes = [_length(lengths[axis], factors[axis], steps[axis], kept[axis]) for axis in (0, 1)]
        if sizes[0] * sizes[1] <= max_cells:
            break
        longer = int(sizes[1] > sizes[0])
        factors[longer] = steps[longer] if factors[longer] < steps[longer] else factors[longer] + steps[longer]
    pair = (factors[0], factors[1])
    return _arrange(_block_mean(np.abs(tiles.cells), pair), tiles.shape, pair, kept[0], kept[1])


def lay(tiles: Tiles, array: np.ndarray, fill: float = np.nan) -> np.ndarray:
    """Another O I H W array (scores, mask, ids) on the same picture, as float32; `fill` in gaps, block means if reduced.

    Raises ValueError when the shape is not the picture's.
    """
    if array.shape != tiles.shape:
        raise ValueError(f"The picture is of a {tiles.shape} tensor, not of {array.shape}.")
    return _spread(tiles, _block_mean(flat(array).astype(np.float32), tiles.factors), fill)


def crop(tiles: Tiles, filters: slice, channels: slice) -> Tiles:
    """The part of the picture (not a reduced one) that shows these filters and channels."""
    _, _, h, w = tiles.shape
    row, col = slice(filters.start * h, filters.stop * h), slice(channels.start * w, channels.stop * w)
    cells = tiles.cells[row, col]
    shape = (cells.shape[0] // h, cells.shape[1] // w, h, w)
    row_lines = tiles.row_lines[row.start : row.start + cells.shape[0] - 1]
    col_lines = tiles.col_lines[col.start : col.start + cells.shape[1] - 1]
    part = _arrange(cells, shape, (1, 1), row_lines, col_lines)
    return replace(part, rows=_shift(part.rows, filters.start), cols=_shift(part.cols, channels.start))


def flat(array: np.ndarray) -> np.ndarray:
    """O I H W -> (O H) x (I W)."""
    o, i, h, w = array.shape
    return array.transpose(0, 2, 1, 3).reshape(o * h, i * w)


def _arrange(
    cells: np.ndarray,
    shape: tuple[int, int, int, int],
    factors: tuple[int, int],
    row_lines: np.ndarray,
    col_lines: np.ndarray,
) -> Tiles:
    rows, row_edges = _axis(cells.shape[0], factors[0], shape[2], row_lines)
    cols, col_edges = _axis(cells.shape[1], factors[1], shape[3], col_lines)
    values = np.empty((len(rows), len(cols)), np.float32)
    tiles = Tiles(values, rows, cols, row_edges, col_edges, shape, factors, row_lines, col_lines)
    return replace(tiles, values=_spread(tiles, cells.astype(np.float32), np.nan))


def _spread(tiles: Tiles, cells: np.ndarray, fill: float) -> np.ndarray:
    picture = np.full(tiles.values.shape, fill, np.float32)
    picture[np.ix_(tiles.rows[:, 0] >= 0, tiles.cols[:, 0] >= 0)] = cells
    return picture


def _axis(count: int, factor: int, step: int, lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices (n x 2, -1 in gaps) and edges of one axis of `count` cells, each `factor` weights long; kernels are `step` long."""
    gaps = GROUP_GAP * lines + TILE_GAP * _tile_lines(count, factor, step)
    at = np.arange(count) + np.concatenate([[0], np.cumsum(gaps > 0)]).astype(int)
    indices = np.full((at[-1] + 1, 2), -1)
    indices[at] = np.stack(np.divmod(np.arange(count) * factor, step), axis=1)
    widths = np.ones(len(indices))
    widths[indices[:, 0] < 0] = gaps[gaps > 0]
    return indices, np.concatenate([[0.0], np.cumsum(widths)])


def _tile_lines(count: int, factor: int, step: int) -> np.ndarray:
    """Between which neighbouring cells does a kernel end? Nowhere for 1 x 1 kernels and when cells hold whole kernels."""
    return (np.arange(1, count) % step == 0) & (step > 1) & (factor == 1)


def _length(count: int, factor: int, step: int, lines: np.ndarray) -> int:
    reduced = -(-count // factor)
    return reduced + int(np.count_nonzero(lines | _tile_lines(reduced, factor, step)))


def _kept_lines(lines: np.ndarray, factor: int) -> np.ndarray:
    """Group borders between blocks of `factor` cells; none if any border falls inside a block."""
    between = lines[factor - 1 :: factor]
    return between if between.sum() == lines.sum() else np.zeros_like(between)


def _block_mean(cells: np.ndarray, factors: tuple[int, int]) -> np.ndarray:
    for axis, factor in enumerate(factors):
        if factor > 1:
            starts = np.arange(0, cells.shape[axis], factor)
            counts = np.diff(np.append(starts, cells.shape[axis]))
            cells = np.add.reduceat(cells, starts, axis=axis) / np.expand_dims(counts, 1 - axis)
    return cells


def _shift(indices: np.ndarray, start: int) -> np.ndarray:
    moved = indices.copy()
    moved[indices[:, 0] >= 0, 0] += start
    return moved
