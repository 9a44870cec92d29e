"""The zoomed window of a reduced layer, and what the lab shows while Python is slow: in a real
Chromium.
"""

import re

import pytest
import torch
from playwright.sync_api import Page, expect

from pruning_core.masks import ranks
from tests.browser.conftest import settled, shot
from tests.browser.lab_page import Lab, pruned_groups, reaches, removes

LARGE = "shape=2048x1024x1x1&g=fine"
NEAR = "({ lab }) => lab.stage.near && lab.stage.near.layer.window"
ROW_IN_SIGHT = "({ lab }) => lab.stage.view.y * lab.layer.factors[0]"
IN_SIGHT_IS_LOADED = """!lab.asked && (({ near, view, width, height }, { factors, shape }) => {
  const [top, bottom, left, right] = near?.layer.window ?? [0, 0, 0, 0]
  const [down, across] = factors
  return top <= Math.max(0, view.y * down)
    && left <= Math.max(0, view.x * across)
    && bottom >= Math.min(shape[0], (view.y + height / view.sy) * down)
    && right >= Math.min(shape[1], (view.x + width / view.sx) * across)
})(lab.stage, lab.layer)"""
"""A window that came before the last zoom is followed by another one."""


def zoomed(page: Page, times: int = 12) -> None:
    """Zooms to the middle of the picture until single weights have come, and the last of them."""
    page.locator(".stage").evaluate("stage => stage.focus()")
    for _ in range(times):
        page.keyboard.press("+")
    expect(page.locator(".note")).to_contain_text("Full detail inside the dashed frame")
    reaches(page, IN_SIGHT_IS_LOADED)
    settled(page)


def expected(row: int, col: int) -> tuple[float, int]:
    """A weight of the harness page's layer and its place."""
    rng = torch.Generator().manual_seed(0)
    weight = torch.randn((2048, 1024), generator=rng) * torch.linspace(1.6, 0.4, 1024)[:, None].T
    place = ranks(weight.abs().view(1, -1))[0, row * 1024 + col]
    return float(weight[row, col]), int(place)


def test_a_large_layer_is_reduced_and_zooming_brings_every_weight_and_only_that(lab: Lab) -> None:
    page, wire = lab(LARGE)
    assert max(wire.received) < 1_000_000
    expect(page.locator(".note")).to_contain_text("Reduced: a cell stands for")
    expect(page.locator(".counts")).to_contain_text("1,048,576 of 2,097,152 weights")
    expect(page.locator(".note")).to_contain_text("Zoom in for single weights and hand edits")
    received = len(wire.received)
    zoomed(page, 6)
    page.get_by_text("runs 1 |").wait_for()
    assert max(wire.received[received:]) < 1_000_000
    top, _, left, _ = page.locator(".lab").evaluate(NEAR)
    page.mouse.move(*over_near(page, 40, 50))
    value, place = expected(top + 40, left + 50)
    readout = page.locator(".readout")
    expect(readout).to_contain_text(
        f"output {top + 40} · input {left + 50} · weight {value:.4g}".replace("-", "−")
    )
    fate = "kept" if place >= 1048576 else "removed"
    expect(readout).to_contain_text(f"rank {place + 1:,} of 2,097,152, lowest first · {fate}")
    expect(readout).to_contain_text(re.compile(r"removed at \d+\.?\d*%"))
    shot(page, "mask_lab_window")


def over_near(page: Page, row: int, col: int) -> tuple[float, float]:
    """Where on the screen a weight of the window is, once it is brought into view."""
    x, y = page.locator(".lab").evaluate(
        """({ lab }, [row, col]) => {
          lab.stage.reveal(lab.mask, lab.topMask, row * lab.topMask.cols + col)
          lab.draw()
          const frame = lab.root.querySelector('[data-show=weights] .frame').getBoundingClientRect()
          const [x, y, w, h] = lab.stage.box(lab.topMask, row, col)
          const { dpr } = lab.stage
          return [frame.left + 1 + (x + w / 2) / dpr, frame.top + 1 + (y + h / 2) / dpr]
        }""",
        [row, col],
    )
    return x, y


@pytest.mark.parametrize(
    "query", [LARGE, "shape=512x512x3x3&g=kernel", "shape=1024x2048x1x1&g=2:4&ratio=0.5"]
)
def test_a_flip_in_the_window_counts_everywhere(lab: Lab, query: str) -> None:
    page, _ = lab(query)
    zoomed(page)
    before = pruned_groups(page)
    size = page.locator(".lab").evaluate("({ lab }) => lab.layer.size")
    page.mouse.click(*over_near(page, 4, 4))
    page.get_by_text(re.compile(r"runs 2 \| .*edits \[\[\d+, \d+, (True|False)\]\]")).wait_for()
    after = pruned_groups(page)
    assert abs(after - before) == 1
    page.get_by_text(f"Python counts {after * size:,} weights").wait_for()
    page.keyboard.press("Control+z")
    page.get_by_text("edits []").wait_for()
    removes(page, before)
    page.get_by_text(f"Python counts {before * size:,} weights").wait_for()


def test_edits_of_a_link_are_counted_before_anything_is_zoomed_to(lab: Lab) -> None:
    edits = "&edits=" + ",".join(
        f"0.{group}.{group % 3 % 2}" for group in range(0, 2_000_000, 99_991)
    )
    page, _ = lab(LARGE + edits)
    expect(page.locator(".counts")).to_contain_text("21 by hand")
    removed = pruned_groups(page)
    assert removed != 1048576
    page.get_by_text(f"Python counts {removed:,} weights").wait_for()
    page.get_by_role("slider", name="Remove").press("PageUp")
    page.get_by_text("ratio 0.6 |").wait_for()
    settled(page)
    removes(page, int(re.sub(r"\D", "", page.get_by_text("Python counts").inner_text())))


def test_moving_on_brings_another_window_and_zooming_out_drops_it(lab: Lab) -> None:
    page, _ = lab(LARGE)
    zoomed(page)
    first = page.locator(".lab").evaluate(NEAR)
    while page.locator(".lab").evaluate(ROW_IN_SIGHT) < first[1]:
        page.keyboard.press("Shift+ArrowDown")
    page.wait_for_function(
        """first => [...document.querySelectorAll('*')].some(each => {
          const lab = each.shadowRoot?.querySelector('.lab')?.lab
          return lab?.stage.near && lab.stage.near.layer.window[0] > first[0]
        })""",
        arg=first,
    )
    page.keyboard.press("0")
    expect(page.locator(".note")).to_contain_text("Zoom in for single weights")
    reaches(page, "lab.stage.near", None)


def test_the_keyboard_goes_from_blocks_to_weights_and_flips_one(lab: Lab) -> None:
    page, _ = lab(LARGE)
    page.get_by_role("application").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".spoken")).to_contain_text(
        re.compile("^outputs 0 to 5, inputs 0 to 2, mean")
    )
    zoomed(page)
    page.keyboard.press("ArrowRight")
    expect(page.locator(".spoken")).to_contain_text(re.compile("^output 2, input 2, weight"))
    page.keyboard.press("Enter")
    page.get_by_text("edits [[0, 2050, ").wait_for()


def test_without_detail_a_reduced_layer_says_so(lab: Lab) -> None:
    page, _ = lab(f"{LARGE}&deep=0")
    expect(page.locator(".note")).to_contain_text("Hand edits need a smaller layer")


@pytest.mark.parametrize("query", ["shape=16x8x3x3&g=kernel", LARGE])
def test_a_release_never_flickers_back(lab: Lab, query: str) -> None:
    page, _ = lab(f"{query}&slow=0.8")
    page.locator(".lab").evaluate(
        """({ lab }) => {
          lab.seen = []
          const draw = lab.draw.bind(lab)
          const texts = () => ['.asked', '.counts'].map(each => lab.find(each).textContent)
          const shown = () => [lab.root.dataset.drawn, ...texts()]
          lab.draw = () => (draw(), lab.seen.push(shown()))
        }"""
    )
    slider = page.get_by_role("slider", name="Remove")
    slider.press("PageUp")
    page.get_by_text("ratio 0.6 |").wait_for()
    settled(page)
    seen = {tuple(each) for each in page.locator(".lab").evaluate("({ lab }) => lab.seen")}
    assert [asked for _, asked, _ in seen] == ["60%"]
    (drawn, _, words) = seen.pop()
    assert int(drawn) == pruned_groups(page)
    weights = re.search(r"([\d,]+) of [\d,]+ weights", words)
    assert weights
    page.get_by_text(f"Python counts {weights[1]} weights").wait_for()
