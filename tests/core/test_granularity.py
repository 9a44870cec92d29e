"""Golden masks of every granularity, written out by hand, and groups from and to weights."""

import pytest
import torch
from torch import Tensor

from pruning_core.granularity import (
    GRANULARITIES,
    Granularity,
    block,
    from_groups,
    granularity,
    n_of_m,
    supports,
    to_groups,
)
from pruning_core.masks import group_scores, select
from pruning_core.types import Layer
from tests.core.toy import kernels, layer, matrix, refusal, table

# Duerer's square: distinct weights whose rows, columns and quadrants all sum to 34.
SQUARE = """
    16  2  3 13
     5 11 10  8
     9  7  6 12
     4 14 15  1
"""
# Read as a 4 x 4 matrix, or as 2 filters x 2 channels of 2 x 2 kernels.
MIXED = """
     1  2 |  9 10
     3 13 |  4 11

    16  5 | 14  6
    15  7 | 12  8
""".replace("\n\n", "\n")
FLIPPED = "\n".join(reversed(MIXED.strip().splitlines()))
ABOVE = "\n".join(
    " ".join(str(int(cell) + 1) for cell in row.split()) for row in SQUARE.strip().splitlines()
)
WIDE = """
    16 2 3 13 5 11 10 8
    9 7 6 12 4 14 15 1
"""

GOLDEN = {
    "fine": (
        matrix(SQUARE),
        "linear",
        0.25,
        """
        1 0 0 1
        1 1 1 1
        1 1 1 1
        0 1 1 0""",
    ),
    "row": (
        matrix(SQUARE),
        "linear",
        0.25,
        """
        1 0 1 1
        0 1 1 1
        1 1 0 1
        1 1 1 0""",
    ),
    "2:4": (
        matrix(SQUARE),
        "linear",
        0.5,
        """
        1 0 0 1
        0 1 1 0
        1 0 0 1
        0 1 1 0""",
    ),
    "1:4": (
        matrix(SQUARE),
        "linear",
        0.75,
        """
        1 0 0 0
        0 1 0 0
        0 0 0 1
        0 0 1 0""",
    ),
    "4:8": (
        matrix(WIDE),
        "linear",
        0.5,
        """
        1 0 0 1 0 1 1 0
        1 0 0 1 0 1 1 0""",
    ),
    "vector_row": (
        kernels(MIXED),
        "conv2d",
        0.25,
        """
        0 0 | 1 1
        1 1 | 0 0
        1 1 | 1 1
        1 1 | 1 1""",
    ),
    "vector_col": (
        kernels(MIXED),
        "conv2d",
        0.5,
        """
        0 1 | 0 1
        0 1 | 0 1
        1 0 | 1 0
        1 0 | 1 0""",
    ),
    "kernel": (
        kernels(MIXED),
        "conv2d",
        0.75,
        """
        0 0 | 0 0
        0 0 | 0 0
        1 1 | 0 0
        1 1 | 0 0""",
    ),
    "filter": (
        kernels(MIXED),
        "conv2d",
        0.5,
        """
        0 0 | 0 0
        0 0 | 0 0
        1 1 | 1 1
        1 1 | 1 1""",
    ),
    "channel": (
        kernels(MIXED),
        "conv2d",
        0.5,
        """
        0 0 | 1 1
        0 0 | 1 1
        0 0 | 1 1
        0 0 | 1 1""",
    ),
    "shape": (
        kernels(MIXED),
        "conv2d",
        0.5,
        """
        0 0 | 1 0
        1 1 | 0 1
        0 0 | 1 0
        1 1 | 0 1""",
    ),
    "block:2x2": (
        matrix(MIXED),
        "linear",
        0.25,
        """
        0 0 | 1 1
        0 0 | 1 1
        1 1 | 1 1
        1 1 | 1 1""",
    ),
    "block:2x1": (
        matrix(MIXED),
        "linear",
        0.5,
        """
        0 1 0 1
        0 1 0 1
        1 0 1 0
        1 0 1 0""",
    ),
    "block:1x2": (
        kernels(MIXED),
        "conv2d",
        0.5,
        """
        0 0 0 0
        0 0 0 0
        1 1 1 1
        1 1 1 1""",
    ),
    "block:4x4": (
        matrix(SQUARE.rstrip() + "\n" + ABOVE),
        "linear",
        0.5,
        """
        0 0 0 0
        0 0 0 0
        0 0 0 0
        0 0 0 0
        1 1 1 1
        1 1 1 1
        1 1 1 1
        1 1 1 1""",
    ),
    "head of q": (
        matrix(MIXED),
        "attention_proj",
        0.5,
        """
        0 0 0 0
        0 0 0 0
        1 1 1 1
        1 1 1 1""",
    ),
    "head of out": (
        matrix(MIXED),
        "attention_out",
        0.5,
        """
        0 0 1 1
        0 0 1 1
        0 0 1 1
        0 0 1 1""",
    ),
    # q, k and v below each other: head 0 has 53 + 83 + 83, head 1 has 83 + 53 + 53.
    "head of qkv": (
        matrix(MIXED.rstrip() + "\n" + FLIPPED + "\n" + FLIPPED),
        "attention_in",
        0.5,
        """
        1 1 1 1
        1 1 1 1
        0 0 0 0
        0 0 0 0
        1 1 1 1
        1 1 1 1
        0 0 0 0
        0 0 0 0
        1 1 1 1
        1 1 1 1
        0 0 0 0
        0 0 0 0""",
    ),
}


def of(w: Tensor, kind: str) -> Layer:
    return layer(w.shape, kind, heads=2 if kind.startswith("attention") else 0)


def flat(mask: Tensor) -> Tensor:
    """OIHW as the table shows it: filters down, channels across."""
    o, i, h, w = mask.shape
    return mask.permute(0, 2, 1, 3).reshape(o * h, i * w).float()


@pytest.mark.parametrize("case", GOLDEN)
def test_golden_masks(case: str) -> None:
    w, kind, ratio, expected = GOLDEN[case]
    g = granularity(case.split(" of ")[0])
    of_w = of(w, kind)
    mask = select(group_scores({"w": w}, (of_w,), g, "mean_abs"), (of_w,), g, {"w": ratio})["w"]
    assert flat(mask).tolist() == table(expected).tolist()


def test_every_standard_granularity_has_a_golden_mask() -> None:
    assert GRANULARITIES.keys() <= {case.split(" of ")[0] for case in GOLDEN}


@pytest.mark.parametrize(
    ("name", "shape", "kind", "expected"),
    [
        ("fine", (4, 8, 3, 3), None, (1, 288, 1)),
        ("row", (4, 8, 3, 3), None, (4, 72, 1)),
        ("2:4", (4, 8, 3, 3), None, (72, 4, 1)),
        ("1:4", (4, 8, 3, 3), None, (72, 4, 1)),
        ("4:8", (4, 8, 3, 3), None, (36, 8, 1)),
        ("vector_row", (4, 8, 3, 5), None, (1, 96, 5)),
        ("vector_col", (4, 8, 3, 5), None, (1, 160, 3)),
        ("kernel", (4, 8, 3, 5), None, (1, 32, 15)),
        ("filter", (4, 8, 3, 3), None, (1, 4, 72)),
        ("channel", (4, 8, 3, 3), None, (1, 8, 36)),
        ("shape", (4, 8, 3, 3), None, (1, 72, 4)),
        ("block:4x4", (4, 8, 3, 3), None, (1, 2, 144)),
        ("block:2x8", (4, 8, 1, 1), None, (1, 2, 16)),
        ("head", (12, 4, 1, 1), "attention_in", (1, 2, 24)),
        ("head", (4, 6, 1, 1), "attention_proj", (1, 2, 12)),
        ("head", (4, 4, 1, 1), "attention_out", (1, 2, 8)),
        ("filter", (6, 1, 3, 3), "depthwise", (1, 6, 9)),
        ("vector_row", (4, 8, 1, 3), "conv1d", (1, 32, 3)),
    ],
)
def test_scope_group_element(
    name: str, shape: tuple[int, int, int, int], kind: str | None, expected: tuple[int, ...]
) -> None:
    g = granularity(name)
    here = layer(shape, kind, heads=2 if g.spans_attention else 0)
    w = torch.arange(here.numel, dtype=torch.float32).view(shape)
    groups = to_groups(w, g, here)
    assert tuple(groups.shape) == expected
    # Each weight is in exactly one group, and from_groups puts a group's decision on exactly its
    # own weights.
    assert sorted(groups.flatten().tolist()) == w.flatten().tolist()
    keep = torch.rand(groups.shape[:2], generator=torch.Generator().manual_seed(1)) > 0.5
    mask = from_groups(keep, g, here)
    assert tuple(mask.shape) == shape
    assert torch.equal(to_groups(mask, g, here), keep[:, :, None].expand(expected))


def test_groups_of_a_non_contiguous_weight() -> None:
    here = layer((4, 8, 3, 3))
    g = granularity("kernel")
    w = torch.randn(4, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(
        to_groups(w.to(memory_format=torch.channels_last), g, here), to_groups(w, g, here)
    )
    turned = w.permute(1, 0, 2, 3).contiguous().permute(1, 0, 2, 3)
    assert torch.equal(to_groups(turned, g, here), to_groups(w, g, here))


def test_query_rows_and_output_columns_belong_to_the_same_heads() -> None:
    """Head j of the value rows feeds columns j d to (j + 1) d of the output projection."""
    g = granularity("head")
    e = 6
    rows = from_groups(
        torch.tensor([[True, False, True]]), g, layer((3 * e, e, 1, 1), "attention_in", heads=3)
    )
    columns = from_groups(
        torch.tensor([[True, False, True]]), g, layer((e, e, 1, 1), "attention_out", heads=3)
    )
    assert (
        rows[2 * e :, 0, 0, 0].tolist()
        == columns[0, :, 0, 0].tolist()
        == [True, True, False, False, True, True]
    )


def removes_whole_rows(g: Granularity, here: Layer) -> bool:
    """Does the removal of one group leave some output without any weight?"""
    scopes, groups, _ = to_groups(torch.zeros(here.shape), g, here).shape
    keep = torch.ones(scopes, groups, dtype=torch.bool)
    keep[0, 0] = False
    return not from_groups(keep, g, here).flatten(1).any(1).all()


@pytest.mark.parametrize("name", GRANULARITIES)
def test_facts_agree_with_the_patterns(name: str) -> None:
    g = GRANULARITIES[name]
    here = layer((8, 8, 3, 3), "attention_proj" if g.spans_attention else None, heads=2)
    assert g.removes_outputs == removes_whole_rows(g, here)
    assert g.unstructured == (to_groups(torch.zeros(here.shape), g, here).shape == (1, 576, 1))
    assert g.spans_attention == (supports(g, layer((8, 8, 3, 3))) is not None)
    assert g.removes_outputs or not g.ties_layers
    assert g.narrows == (name in {"filter", "channel", "head"})


def test_n_of_m_sets_its_own_ratio() -> None:
    assert {
        name: g.fixed_ratio for name, g in GRANULARITIES.items() if g.fixed_ratio is not None
    } == {
        "2:4": 0.5,
        "1:4": 0.75,
        "4:8": 0.5,
    }
    assert granularity("3:5").fixed_ratio == 1 - 3 / 5


@pytest.mark.parametrize("name", [*GRANULARITIES, "3:5", "block:2x8"])
def test_a_granularity_is_found_by_its_name(name: str) -> None:
    assert granularity(name).name == name


@pytest.mark.parametrize(
    "name",
    [
        "finest",
        "4:4",
        "0:4",
        "5:4",
        "block:1x1",
        "block:0x4",
        "block:4",
        "-2:4",
        "",
        "2:4:8",
        "fine ",
    ],
)
def test_unknown_granularities_are_refused_in_a_sentence(name: str) -> None:
    refusal(lambda: granularity(name))


def test_impossible_sizes_are_refused() -> None:
    assert "below M" in refusal(lambda: n_of_m(4, 4))
    assert "at least 1" in refusal(lambda: block(1, 1))
