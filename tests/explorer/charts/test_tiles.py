"""The layout of a weight: expected gaps for each granularity, and the weight of each cell."""

import numpy as np
import pytest
from einops import repeat

from explorer.charts.tiles import GROUP_GAP, TILE_GAP, Tiles, lay, tile

N = np.nan


def arange(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def ids(pattern: str, shape: tuple[int, int, int, int]) -> np.ndarray:
    """Group ids: groups differ in the axes of the pattern, such as "o i" for kernels."""
    index = dict(zip("oihw", np.indices(shape), strict=True))
    named = (
        np.stack([index[axis] for axis in pattern.split()]) if pattern else np.zeros((1, *shape))
    )
    return np.unique(named.reshape(len(named), -1), axis=1, return_inverse=True)[1].reshape(shape)


def drawn(tiles: Tiles) -> tuple[str, str]:
    """The gaps of rows and columns as text: `.` a cell, `t` tile, `g` group, `G` both."""
    mark = {TILE_GAP: "t", GROUP_GAP: "g", TILE_GAP + GROUP_GAP: "G"}

    def axis(indices: np.ndarray, edges: np.ndarray) -> str:
        widths = np.diff(edges)
        return "".join(
            "." if real else mark[float(width)]
            for real, width in zip(indices[:, 0] >= 0, widths, strict=True)
        )

    return axis(tiles.rows, tiles.row_edges), axis(tiles.cols, tiles.col_edges)


LINEAR = (4, 4, 1, 1)
CONV = (2, 2, 2, 2)

GOLDEN = [
    ("fine, matrix", LINEAR, "o i h w", ("....", "....")),
    ("fine, kernels", CONV, "o i h w", ("..t..", "..t..")),
    ("kernel", CONV, "o i", ("..G..", "..G..")),
    ("filter, matrix", LINEAR, "o", (".g.g.g.", "....")),
    ("filter, kernels", CONV, "o", ("..G..", "..t..")),
    ("channel, matrix", LINEAR, "i", ("....", ".g.g.g.")),
    ("channel, kernels", CONV, "i", ("..t..", "..G..")),
    ("row vectors", CONV, "o i h", (".g.G.g.", "..G..")),
    ("column vectors", CONV, "o i w", ("..G..", ".g.G.g.")),
    ("shape, matrix", LINEAR, "i h w", ("....", ".g.g.g.")),
    ("shape, kernels: scattered single cells", CONV, "i h w", ("..t..", "..t..")),
    ("the whole layer", CONV, "", ("..t..", "..t..")),
]


@pytest.mark.parametrize(
    ("shape", "pattern", "gaps"), [case[1:] for case in GOLDEN], ids=[case[0] for case in GOLDEN]
)
def test_gaps_follow_the_groups(
    shape: tuple[int, int, int, int], pattern: str, gaps: tuple[str, str]
) -> None:
    assert drawn(tile(arange(*shape), ids(pattern, shape))) == gaps


def test_blocks_have_gaps_between_them_only() -> None:
    blocks = repeat(np.arange(4).reshape(2, 2), "a b -> (a p) (b q) 1 1", p=2, q=2)
    assert drawn(tile(arange(*LINEAR), blocks)) == ("..g..", "..g..")


def test_heads_of_a_joint_projection_are_separate_in_q_k_and_v() -> None:
    heads = repeat(np.arange(2), "n -> (t n d) i 1 1", t=3, d=2, i=3)
    assert drawn(tile(arange(12, 3, 1, 1), heads)) == ("..g..g..g..g..g..", "...")


def test_scopes_of_n_of_m_are_separate() -> None:
    scopes = repeat(np.arange(8).reshape(4, 2), "o i -> o (i m) 1 1", m=2)
    assert drawn(tile(arange(*LINEAR), scopes)) == (".g.g.g.", "..g..")


def test_a_one_dimensional_convolution_has_tiles_of_one_row() -> None:
    assert drawn(tile(arange(2, 2, 1, 3), ids("o i", (2, 2, 1, 3)))) == (".g.", "...G...")


def test_golden_picture_of_filters() -> None:
    tiles = tile(arange(*CONV), ids("o", CONV))
    assert np.array_equal(
        tiles.values,
        np.array(
            [[0, 1, N, 4, 5], [2, 3, N, 6, 7], [N] * 5, [8, 9, N, 12, 13], [10, 11, N, 14, 15]],
            np.float32,
        ),
        equal_nan=True,
    )
    assert tiles.rows.tolist() == [[0, 0], [0, 1], [-1, -1], [1, 0], [1, 1]]
    assert tiles.cols.tolist() == [[0, 0], [0, 1], [-1, -1], [1, 0], [1, 1]]
    assert tiles.row_edges.tolist() == [0, 1, 2, 2.625, 3.625, 4.625]
    assert tiles.col_edges.tolist() == [0, 1, 2, 2.125, 3.125, 4.125]


@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1), (3, 1, 3, 3), (5, 4, 1, 1), (2, 3, 1, 5), (4, 2, 3, 2)]
)
@pytest.mark.parametrize("pattern", ["o i h w", "o i h", "o i", "o", "i", "i h w"])
def test_every_cell_has_the_indices_of_its_weight(
    shape: tuple[int, int, int, int], pattern: str
) -> None:
    weight = arange(*shape)
    tiles = tile(weight, ids(pattern, shape))
    seen = 0
    for r, (o, h) in enumerate(tiles.rows):
        for c, (i, w) in enumerate(tiles.cols):
            if o < 0 or i < 0:
                assert np.isnan(tiles.values[r, c])
            else:
                assert tiles.values[r, c] == weight[o, i, h, w]
                seen += 1
    assert seen == weight.size
    assert len(tiles.row_edges) == len(tiles.rows) + 1
    assert np.all(np.diff(tiles.col_edges) > 0)


def test_other_arrays_have_the_same_layout() -> None:
    weight = arange(*CONV)
    tiles = tile(weight, ids("o i", CONV))
    mask = weight > 7
    laid = lay(tiles, mask, fill=-1)
    assert laid.dtype == np.float32
    assert np.array_equal(laid == 1, tiles.values > 7)
    assert np.array_equal(laid == -1, np.isnan(tiles.values))
    assert np.array_equal(lay(tiles, weight), tiles.values, equal_nan=True)


def test_inputs_stay_unchanged_and_wrong_shapes_raise() -> None:
    weight = arange(*CONV)
    groups = ids("o", CONV)
    before = weight.copy()
    tiles = tile(weight, groups)
    assert np.array_equal(weight, before)
    with pytest.raises(ValueError, match="one shape"):
        tile(weight, groups[:1])
    with pytest.raises(ValueError, match="O I H W"):
        tile(weight[0], groups[0])
    with pytest.raises(ValueError, match="not of"):
        lay(tiles, weight[:1])
