"""Lesson 10: a pruned 4 x 6 matrix in three sparse formats, entry by entry, and read back."""

from dataclasses import dataclass

import numpy as np
import torch

from explorer.charts.number_grid import Cell, Grid, coloured, figure, grids, number
from explorer.pages.learn.lesson import Drawn, address, network, weight_of
from explorer.session import cache
from explorer.texts.lessons import Words
from pruning_core.compress.storage_formats import FORMATS, LayerCounts, count_layer, gaps
from pruning_core.granularity import granularity
from pruning_core.masks import lowest
from pruning_core.plan import Plan
from pruning_core.types import Layer

LAYER = "fc.weight"
SHAPE = (4, 6, 1, 1)
KEPT = 7
"""Weights of the matrix that are not zero."""
VALUE_BITS = 32
GAP_BITS = 2
"""Few enough that this small matrix needs a filler."""


@dataclass(frozen=True, eq=False)
class Stored:
    """The matrix and what three formats store of it.

    matrix: 4 x 6 with zeros. columns, starts: of CSR. relative: for each entry the number of zeros
    before it, and its value; a value of 0 is a filler. bits: of each format, from its formula.
    """

    matrix: np.ndarray
    columns: tuple[int, ...]
    starts: tuple[int, ...]
    relative: tuple[tuple[int, float], ...]
    bits: dict[str, int]

    @property
    def places(self) -> np.ndarray:
        """The positions of the nonzeros, row by row."""
        return np.flatnonzero(self.matrix)

    @property
    def values(self) -> list[str]:
        """The nonzeros as texts."""
        return [number(value) for value in self.matrix.ravel()[self.places]]


def stored(matrix: torch.Tensor) -> Stored:
    """The matrix in every format."""
    from scipy.sparse import csr_array  # not at the start of the app

    keep = matrix != 0
    layer = Layer("small", "small", "linear", SHAPE, SHAPE[:2])
    counts = count_layer(layer, keep.reshape(SHAPE), VALUE_BITS, granularity("fine"), GAP_BITS)
    csr = csr_array(matrix.numpy())
    return Stored(
        matrix.numpy(),
        tuple(csr.indices.tolist()),
        tuple(csr.indptr.tolist()),
        tuple(relative(matrix)),
        {name: _bits(name, counts) for name in ("dense", "csr", "bitmap", "relative")},
    )


def _bits(name: str, counts: LayerCounts) -> int:
    return FORMATS[name].bits(counts) or 0


def relative(matrix: torch.Tensor) -> list[tuple[int, float]]:
    """Zeros before each entry, at most 2^bits - 1, and the entry; a filler has the value 0."""
    longest = 2**GAP_BITS
    entries = []
    values = matrix[matrix != 0]
    for gap, value in zip(gaps(matrix.ravel() != 0).tolist(), values.tolist(), strict=True):
        entries += [(longest - 1, 0.0)] * (gap // longest)
        entries.append((gap % longest, value))
    return entries


def read_back(entries: tuple[tuple[int, float], ...]) -> np.ndarray:
    """The matrix of the entries of a relative index."""
    flat = np.zeros(SHAPE[0] * SHAPE[1], np.float32)
    place = -1
    for gap, value in entries:
        place += gap + 1
        flat[place] = value
    return flat.reshape(SHAPE[:2])


def small_matrix() -> torch.Tensor:
    """The corner of the output layer that has the largest weights kept, the others zero."""
    corner = weight_of(LAYER)[: SHAPE[0], : SHAPE[1], 0, 0]
    scores = corner.abs().reshape(1, -1)
    removed = lowest(scores, scores.numel() - KEPT).reshape(corner.shape)
    return corner.masked_fill(removed, 0.0)


def draw(step: int, words: Words) -> Drawn:
    """The matrix, the formats with their first `step` nonzeros, and the matrix read back."""
    every: Stored = cache.cached_detail(lambda: stored(small_matrix()), network(), "lesson storage")
    values = {
        "kept": KEPT,
        "step": step,
        "fillers": len(every.relative) - KEPT,
        **{f"{name}_bits": bits for name, bits in every.bits.items()},
    }
    rows = [
        _matrices(every, step, words),
        *(_strip(every, step, name, words) for name in ("csr", "bitmap", "relative")),
    ]
    order = sorted(("csr", "bitmap", "relative"), key=lambda name: every.bits[name])
    correct = ("csr", "bitmap", "relative").index(order[0])
    return Drawn(figure(rows), values, correct, address(Plan(sparsity=0.7)))


def _matrices(every: Stored, step: int, words: Words) -> str:
    limit = float(np.abs(every.matrix).max())
    before = coloured(every.matrix, limit, every.matrix != 0)
    entries = _entries(every, step)
    back = read_back(every.relative[:entries])
    after = coloured(back, limit, back != 0)
    if 0 < step < len(every.places):
        row, column = divmod(int(every.places[step - 1]), SHAPE[1])
        for picture in (before, after):
            cell = picture[row][column]
            picture[row][column] = cell._replace(looks=f"{cell.looks} chosen")
    return grids([Grid(words("matrix"), before), "→", Grid(words("back"), after)])


def _entries(every: Stored, step: int) -> int:
    """How many entries of the relative index hold the first `step` nonzeros."""
    real = [number for number, (_, value) in enumerate(every.relative, 1) if value]
    return real[step - 1] if step else 0


def _strip(every: Stored, step: int, name: str, words: Words) -> str:
    """One format: its arrays, with what is written at this step."""
    title = words(f"{name}_title", bits=every.bits[name])
    parts = {"csr": _csr, "bitmap": _bitmap, "relative": _relative}[name](every, step, words)
    return f"<p style='margin: 0.7rem 0 0'><b>{title}</b></p>{grids(parts, 'strip')}"


def _csr(every: Stored, step: int, words: Words) -> list[Grid | str]:
    values = _written(every.values, step, step)
    columns = _written([str(column) for column in every.columns], step, step)
    whole = len(every.starts) if step == KEPT else 0
    row = int(every.places[step - 1]) // SHAPE[1] if step else -1
    starts = _written([str(start) for start in every.starts], max(whole, row + 1), 0)
    return [
        Grid(words("values"), [values]),
        Grid(words("columns"), [columns]),
        Grid(words("starts"), [starts]),
    ]


def _bitmap(every: Stored, step: int, words: Words) -> list[Grid | str]:
    bits = [str(int(value != 0)) for value in every.matrix.ravel()]
    until = len(bits) if step == KEPT else int(every.places[step - 1]) + 1 if step else 0
    cells = [
        cell._replace(looks=cell.looks.replace("kept", "")) if cell.text == "0" else cell
        for cell in _written(bits, until, until)
    ]
    values = _written(every.values, step, step)
    return [Grid(words("bits"), [cells]), Grid(words("values"), [values])]


def _relative(every: Stored, step: int, words: Words) -> list[Grid | str]:
    until = _entries(every, step)
    gap = _written([str(gap) for gap, _ in every.relative], until, until)
    value = _written([number(value) for _, value in every.relative], until, until)
    for at, (_, weight) in enumerate(every.relative[:until]):
        if not weight:
            value[at] = Cell("0", looks="removed")
    return [Grid(words("gaps"), [gap, value])]


def _written(texts: list[str], until: int, newest: int) -> list[Cell]:
    """Cells of which the first `until` are written; the newest one is marked while writing."""
    last = newest if newest < len(texts) else 0
    return [
        Cell(
            text,
            looks=("kept" if at < until else "later") + (" chosen" if at == last - 1 else ""),
        )
        for at, text in enumerate(texts)
    ]
