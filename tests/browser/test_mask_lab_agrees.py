"""The mask lab's browser side cuts exactly as Python does: every granularity, ties, halves, hand
edits.
"""

import base64
from collections.abc import Iterator
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, Page

from explorer.charts.tiles import flat
from explorer.components.mask_lab import Edit, lab_view, source
from pruning_core.granularity import GRANULARITIES, Granularity, from_groups, granularity, supports
from pruning_core.masks import apply_hand_edits, group_scores, n_removed, ranks, select
from pruning_core.types import Layer
from tests.cases import check_each
from tests.core.toy import layer

LAYERS = (
    layer((8, 8, 3, 3), name="conv"),
    layer((8, 1, 3, 3), "depthwise", name="depthwise", groups=8),
    layer((12, 16, 1, 1), name="linear"),
    layer((24, 8, 1, 1), "attention_in", name="in_proj", heads=4),
    layer((8, 8, 1, 1), "attention_out", name="out_proj", heads=4),
    layer((6, 4, 1, 5), "conv1d", name="conv1d"),
)
IN_PAGE = "\nObject.assign(globalThis, { decode, Mask, removedCount })\n"
# Masks travel as text of 0 and 1: Playwright reads it much faster than lists of numbers.
CUT = """([bytes, ratio, edits]) => {
  const layer = decode(Uint8Array.from(atob(bytes), letter => letter.charCodeAt(0)))
  const mask = new Mask(layer)
  mask.setEdits(new Map(edits.map(([scope, group, keep]) => [scope * layer.groups + group, keep])))
  return ratio.map(each => {
    mask.remove(removedCount(layer, each))
    const kept = Array.from(mask.bar, (_, cell) => Number(mask.keeps(cell))).join("")
    const groups = Array.from(layer.ranks, (_, group) => Number(mask.keepsGroup(group))).join("")
    return [kept, mask.counts().weights, groups]
  })
}"""


def granularities(each: Layer) -> list[Granularity]:
    """Those that the layer can be pruned by."""
    every = (*GRANULARITIES.values(), granularity("block:2x8"))
    return [g for g in every if supports(g, each) is None]


def as_text(mask: np.ndarray) -> str:
    """1 where it keeps, 0 where it does not, in the order of the cells."""
    return (mask.ravel().astype(np.uint8) + ord("0")).tobytes().decode()


def tied(each: Layer, g: Granularity, levels: int) -> torch.Tensor:
    """Group scores of few levels: most groups share theirs with others."""
    rng = torch.Generator().manual_seed(levels)
    return group_scores(
        {each.name: torch.randint(0, levels, each.shape, generator=rng).float()},
        (each,),
        g,
        "mean_abs",
    )[each.name]


def ratios_for(groups: int) -> list[float]:
    """Whole percents, every half count (where rounding decides), and numbers that binary fractions
    miss.
    """
    halves = [(n + 0.5) / groups for n in range(min(groups, 12))]
    return sorted({0.0, 1.0, 0.1, 0.3, 1 / 3, 0.5, 0.7, 0.999, *halves})


@pytest.fixture(scope="module")
def blank(browser: Browser) -> Iterator[Page]:
    """A page with the lab's own functions and nothing else."""
    page = browser.new_page()
    page.add_script_tag(content=source("lab") + IN_PAGE, type="module")
    page.wait_for_function("globalThis.Mask !== undefined")
    yield page
    page.close()


@pytest.mark.parametrize("each", LAYERS, ids=lambda each: each.name)
def test_browser_and_python_cut_the_same(blank: Page, each: Layer) -> None:
    cases = product(granularities(each), (1, 3, 1000))
    check_each(cases, partial(cuts_the_same, blank, each))


def cuts_the_same(blank: Page, each: Layer, g: Granularity, levels: int) -> None:
    scores = tied(each, g, levels)
    ratios = ratios_for(scores.shape[1])
    view = lab_view(each, torch.randn(each.shape), scores, g)
    found = blank.evaluate(CUT, [base64.b64encode(view.data).decode(), ratios, []])
    for ratio, (kept, removed, _) in zip(ratios, found, strict=True):
        mask = select({each.name: scores}, (each,), g, {each.name: ratio})[each.name]
        assert kept == as_text(flat(mask.numpy())), f"another mask at {ratio}"
        assert removed == int((~mask).sum())


@pytest.mark.parametrize("each", LAYERS, ids=lambda each: each.name)
def test_edits_by_hand_mean_the_same_in_browser_and_python(blank: Page, each: Layer) -> None:
    cases = product(granularities(each), (False, True))
    check_each(cases, partial(edits_mean_the_same, blank, each))


def edits_mean_the_same(blank: Page, each: Layer, g: Granularity, allow_collapse: bool) -> None:
    scores = tied(each, g, 3)
    places = ranks(scores)
    groups = scores.shape[1]
    last = [
        Edit(0, int((places[0] == rank).nonzero()), False) for rank in range(groups // 2, groups)
    ]
    mixed = [Edit(scores.shape[0] - 1, 0, True), Edit(scores.shape[0] - 1, groups - 1, False)]
    ratios = ratios_for(groups)
    view = lab_view(each, torch.randn(each.shape), scores, g, allow_collapse=allow_collapse)
    for edits in (last, mixed):
        found = blank.evaluate(
            CUT, [base64.b64encode(view.data).decode(), ratios, [list(edit) for edit in edits]]
        )
        for ratio, (kept, removed, kept_groups) in zip(ratios, found, strict=True):
            cut = places >= n_removed(g, ratio, groups, allow_collapse=allow_collapse)
            expected = apply_hand_edits(cut, scores, edits, allow_collapse=allow_collapse)
            mask = from_groups(expected, g, each)
            assert kept == as_text(flat(mask.numpy())), f"another mask at {ratio}"
            assert kept_groups == as_text(expected.numpy())
            assert removed == int((~mask).sum())
