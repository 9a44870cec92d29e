"""Edits by hand, undo, the wheel and what is said of them: in a real Chromium."""

import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import dressed, settled
from tests.browser.lab_page import Lab, over_cell, removes

KERNELS = "shape=16x8x3x3&g=kernel"
LAST = "({ lab }) => [...lab.layer.ranks].indexOf(lab.layer.groups - 1)"
LAST_STAYS = (
    "The last group of a scope is kept. To allow its removal: More settings, A layer may collapse."
)


def flips(page: Page, group: int) -> None:
    """Clicks the first weight of a kernel."""
    page.mouse.click(*over_cell(page, group // 8 * 3, group % 8 * 3))


def test_no_word_moves_the_slider_or_the_pictures(lab: Lab) -> None:
    page, _ = lab("shape=256x128x3x3&g=kernel&edits=0.1.1,0.2.0")
    for width in (1440, 800):
        settled(dressed(page, "light", width))
        slider = page.locator(".slider input")
        seen = set()
        for ratio in (0, 3, 500, 997, 1000):
            slider.evaluate(
                """(slider, ratio) => {
                  slider.value = ratio
                  slider.dispatchEvent(new Event('input'))
                  return new Promise(requestAnimationFrame)
                }""",
                ratio,
            )
            track = slider.bounding_box()
            stage = page.locator(".stage").bounding_box()
            assert track
            assert stage
            seen.add((track["x"], track["width"], stage["y"]))
        assert len(seen) == 1
        expect(page.locator(".counts")).to_contain_text("2 by hand · the last group is kept")


def test_the_last_group_is_not_pruned_in_vain(lab: Lab) -> None:
    page, _ = lab(f"{KERNELS}&ratio=1")
    expect(page.locator(".counts")).to_contain_text("the last group is kept")
    last = page.locator(".lab").evaluate(LAST)
    flips(page, last)
    expect(page.locator(".notice")).to_have_text(LAST_STAYS)
    expect(page.locator(".spoken")).to_have_text(LAST_STAYS)
    expect(page.locator(".readout")).to_contain_text("kept · never removed")
    page.get_by_text("runs 1 | ratio 1.0 | edits []").wait_for()
    other = (last + 1) % 128
    flips(page, other)
    expect(page.locator(".notice")).to_be_empty()
    page.get_by_text(f"edits [[0, {other}, True]]").wait_for()
    flips(page, last)
    page.get_by_text(f"[0, {last}, False]").wait_for()
    settled(page)
    flips(page, other)
    page.get_by_text(f"edits [[0, {last}, False]]").wait_for()
    settled(page)
    page.mouse.move(*over_cell(page, last // 8 * 3 + 1, last % 8 * 3))
    expect(page.locator(".readout")).to_contain_text(
        "removed by hand, but kept: it is the last group of its scope"
    )
    flips(page, last)
    page.get_by_text("edits []").wait_for()


def test_undo_comes_back_with_the_lab(lab: Lab) -> None:
    page, _ = lab(f"{KERNELS}&away=1")
    flips(page, 5)
    page.get_by_text("[0, 5, ").wait_for()
    settled(page)
    page.get_by_text("Away").click()
    expect(page.locator(".lab")).to_have_count(0)
    settled(page)
    page.get_by_text("Away").click()
    page.locator(".lab").wait_for()
    settled(page)
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("edits []").wait_for()


def test_undo_outlives_other_scores(lab: Lab) -> None:
    page, _ = lab(KERNELS)
    flips(page, 0)
    page.get_by_text("[0, 0, ").wait_for()
    settled(page)  # both flips in one run of the script would make one run fewer
    flips(page, 9)
    page.get_by_text("[0, 9, ").wait_for()
    settled(page)
    page.get_by_text("Other scores").click()
    page.get_by_text("runs 4 |").wait_for()
    settled(page)
    undo = page.get_by_role("button", name="Undo")
    undo.click()
    page.get_by_text(re.compile(r"edits \[\[0, 0, (True|False)\]\]")).wait_for()
    expect(page.locator(".spoken")).to_have_text(
        re.compile(r"^Undone\. removed: \d+ of 128 groups .* · 1 by hand$")
    )
    settled(page)
    page.get_by_text("Other scores").click()
    page.get_by_text("runs 6 |").wait_for()
    settled(page)
    undo.click()
    page.get_by_text("edits []").wait_for()
    removes(page, 64)
    page.get_by_role("button", name="Redo").click()
    expect(page.locator(".spoken")).to_have_text(re.compile(r"^Redone\. .* · 1 by hand$"))
    page.get_by_role("button", name="Python says 25%").click()
    page.get_by_text("ratio 0.25 |").wait_for()
    settled(page)
    expect(undo).to_be_enabled()


def test_undo_stays_with_its_network(lab: Lab) -> None:
    """Two networks have a layer of one name and shape: what was done to one of them is not done to
    the other.
    """
    page, _ = lab(KERNELS)
    undo, redo = (page.get_by_role("button", name=name) for name in ("Undo", "Redo"))
    flips(page, 5)
    undo.click()
    page.get_by_text("edits []").wait_for()
    expect(redo).to_be_enabled()
    settled(page)
    page.get_by_text("Other network").click()
    expect(redo).to_be_disabled()
    expect(undo).to_be_disabled()
    settled(page)
    page.get_by_text("Other network").click()
    expect(redo).to_be_enabled()


def test_edits_that_cannot_be_used_can_be_cleared(lab: Lab) -> None:
    page, _ = lab("shape=16x16x1x1&g=kernel&waiting=2")
    clear = page.get_by_role("button", name="Clear edits")
    expect(clear).to_be_enabled()
    clear.click()
    page.get_by_text("found None () None").wait_for()
    expect(clear).to_be_disabled()


def test_a_wheel_gesture_that_began_on_the_picture_stays_there(lab: Lab) -> None:
    page, _ = lab(KERNELS)
    prevented = page.locator(".stage").evaluate(
        """async stage => {
          const frame = stage.querySelector('.frame')
          const box = frame.getBoundingClientRect()
          const turn = deltaY => {
            const at = { clientX: box.left + 40, clientY: box.top + 40 }
            const kind = { bubbles: true, composed: true, cancelable: true }
            return !frame.dispatchEvent(new WheelEvent('wheel', { deltaY, ...at, ...kind }))
          }
          const pause = () => new Promise(done => setTimeout(done, 500))
          const out = turn(100)
          await pause()
          const gesture = [turn(-100), turn(100), turn(100), turn(100)]
          await pause()
          return [out, ...gesture, turn(100)]
        }"""
    )
    assert prevented == [False, True, True, True, True, False]


def test_shift_selects_without_a_flip(lab: Lab) -> None:
    page, _ = lab(KERNELS)
    page.keyboard.down("Shift")
    flips(page, 3)
    page.keyboard.up("Shift")
    page.get_by_text("found None None (0, 3)").wait_for()
    page.get_by_text("edits []").wait_for()


def test_scores_that_are_nearly_equal_still_differ_in_colour(lab: Lab) -> None:
    page, _ = lab("shape=192x64x1x1&g=head&kind=attention_in&heads=4")
    tints = page.locator(".lab").evaluate("({ lab }) => new Set(lab.inks.scores.on).size")
    assert tints == 4
    low, high = page.locator(".lab").evaluate(
        "({ lab }) => [Math.min(...lab.layer.scores), Math.max(...lab.layer.scores)]"
    )
    expect(page.locator(".ink-score")).to_have_text(f"score, lowest {low:.4g}highest {high:.4g}")


def test_the_ends_of_the_colours_say_what_lies_beyond(lab: Lab) -> None:
    page, _ = lab("shape=16x16x3x3&g=fine")
    limit = page.locator(".lab").evaluate("({ lab }) => lab.layer.limit")
    expect(page.locator(".high")).to_have_text(f"≥ {limit:.4g}")
    expect(page.locator(".low")).to_have_text(f"≤ −{limit:.4g}")
    expect(page.locator(".most")).to_have_text(re.compile(r"^≥ [\d.]+ \(highest 0\.5%\)$"))


def tops(page: Page) -> list[float]:
    """Where weights, mask and scores begin."""
    boxes = [
        page.locator(f"figure[data-show={name}]").bounding_box()
        for name in ("weights", "mask", "scores")
    ]
    return [box["y"] for box in boxes if box]


def test_pictures_are_in_one_row_on_a_phone_too_and_below_each_other_where_none_fits(
    lab: Lab,
) -> None:
    weights, mask, scores = tops(lab(KERNELS, width=420)[0])
    assert weights == mask == scores
    weights, mask, scores = tops(lab(KERNELS, width=300)[0])
    assert weights < mask < scores


def test_a_strip_gets_a_narrow_frame_and_no_minimap_until_it_is_zoomed(lab: Lab) -> None:
    page, _ = lab("shape=32x1x3x3&g=filter", width=1440)
    frame = page.locator("[data-show=weights] .frame").bounding_box()
    assert frame
    assert frame["width"] < 230
    expect(page.locator("canvas.map")).to_be_hidden()
    page.get_by_role("button", name="Zoom in").click()
    page.locator("canvas.map").wait_for()
