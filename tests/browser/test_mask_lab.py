"""The mask lab on a page in a real Chromium: no message during a drag, keys, hover, edits by hand,
looks.
"""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import dressed, settled, shot
from tests.browser.lab_page import Lab, over_cell, reaches, removes


def test_a_drag_is_drawn_without_the_server_and_reported_once(lab: Lab) -> None:
    page, wire = lab("shape=128x128x1x1&g=fine&levels=7")
    assert max(wire.received) > 150_000
    removes(page, 8192)
    slider = page.get_by_role("slider", name="Remove")
    box = slider.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    sent = len(wire.sent)
    seen = set()
    for step in range(30):
        page.mouse.move(box["x"] + box["width"] * (0.5 + step / 100), box["y"] + box["height"] / 2)
        page.evaluate("() => new Promise(requestAnimationFrame)")
        seen.add(page.locator(".counts").inner_text())
    assert len(seen) > 20
    assert len(wire.sent) == sent
    received = len(wire.received)
    page.mouse.up()
    page.get_by_text("runs 2 |").wait_for()
    settled(page)
    assert len(wire.sent) == sent + 1
    assert sum(wire.received[received:]) < 100_000
    ratio = float(slider.input_value()) / 1000
    page.get_by_text(f"runs 2 | ratio {ratio} | edits []").wait_for()
    removes(page, round(ratio * 16384))


def test_keys_move_the_slider_and_report_when_they_come_up(lab: Lab) -> None:
    page, wire = lab("shape=16x8x3x3&g=kernel")
    slider = page.get_by_role("slider", name="Remove")
    slider.focus()
    sent = len(wire.sent)
    for _ in range(3):
        page.keyboard.down("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "53%")
    page.wait_for_timeout(200)
    assert len(wire.sent) == sent
    page.keyboard.up("ArrowRight")
    page.get_by_text("ratio 0.53 |").wait_for()
    page.keyboard.press("Shift+ArrowLeft")
    page.get_by_text("ratio 0.529 |").wait_for()
    page.keyboard.press("End")
    page.get_by_text("ratio 1.0 |").wait_for()
    removes(page, 127)
    page.get_by_role("button", name="Python says 25%").click()
    expect(slider).to_have_attribute("aria-valuetext", "25%")
    removes(page, 32)


def test_what_python_does_not_take_over_is_given_up(lab: Lab) -> None:
    page, _ = lab("shape=16x8x3x3&g=kernel&echo=0")
    slider = page.get_by_role("slider", name="Remove")
    slider.press("ArrowRight")
    page.get_by_text("found 0.51 None None").wait_for()
    expect(slider).to_have_attribute("aria-valuetext", "50%")


def test_pointing_at_a_cell_tells_all_about_it_and_a_click_flips_its_group(lab: Lab) -> None:
    page, _ = lab("shape=16x8x3x3&g=kernel&levels=3")
    page.mouse.move(*over_cell(page, 5, 7))
    readout = page.locator(".readout")
    expect(readout).to_contain_text("filter 1 · channel 2 · row 2 · column 1 · weight")
    for part in ("group score", "of 128, lowest first", "removed at "):
        expect(readout).to_contain_text(part)
    page.mouse.move(*over_cell(page, 5, 7, "mask"))
    expect(readout).to_contain_text("filter 1 · channel 2 · row 2 · column 1")
    page.mouse.move(2, 2)
    expect(readout).to_contain_text("Point at a cell")
    keeps = page.locator(".lab").evaluate("({ lab }) => lab.mask.keepsGroup(0)")
    page.mouse.click(*over_cell(page, 1, 1))
    page.get_by_text(f"edits [[0, 0, {not keeps}]]").wait_for()
    page.get_by_text("(0, 0)").wait_for()
    removes(page, 64 + (1 if keeps else -1))
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("edits []").wait_for()
    removes(page, 64)
    page.get_by_role("button", name="Redo").click()
    page.get_by_text(f"edits [[0, 0, {not keeps}]]").wait_for()
    page.get_by_role("slider", name="Remove").press("PageUp")
    page.get_by_text(f"ratio 0.6 | edits [[0, 0, {not keeps}]]").wait_for()
    page.get_by_role("button", name="Clear edits").click()
    page.get_by_text("edits []").wait_for()


def test_the_keyboard_reaches_every_cell_flips_and_zooms(lab: Lab) -> None:
    page, _ = lab("shape=16x8x3x3&g=filter")
    stage = page.get_by_role("application")
    stage.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    expect(page.locator(".spoken")).to_contain_text("filter 1, channel 0, row 0, column 1")
    page.keyboard.press("Enter")
    page.get_by_text("edits [[0, 1, ").wait_for()
    page.keyboard.press("Control+z")
    page.get_by_text("edits []").wait_for()
    page.keyboard.press("+")
    reaches(page, "lab.stage.view.zoom", 1.5)
    page.keyboard.press("0")
    reaches(page, "lab.stage.view.zoom", 1)


def test_wheel_zooms_drag_pans_and_the_minimap_shows_where(lab: Lab) -> None:
    page, wire = lab("shape=64x64x3x3&g=kernel")
    sent = len(wire.sent)
    x, y = over_cell(page, 30, 30)
    page.mouse.move(x, y)
    for _ in range(6):
        page.mouse.wheel(0, -200)
    page.locator("canvas.map").wait_for()
    reaches(page, "lab.stage.view.zoom > 7")  # exp(1/3) six times
    view = page.locator(".lab").evaluate("({ lab }) => ({ ...lab.stage.view })")
    page.mouse.down()
    page.mouse.move(x - 40, y - 30, steps=4)
    page.mouse.up()
    reaches(page, f"lab.stage.view.x > {view['x']} && lab.stage.view.y > {view['y']}")
    expect(page.locator(".counts")).not_to_contain_text("by hand")
    assert len(wire.sent) == sent
    shot(page, "mask_lab_zoomed")


@pytest.mark.parametrize(
    "query",
    [
        "shape=16x16x1x1&g=fine",
        "shape=24x24x3x3&g=filter",
        "shape=192x64x1x1&g=head&kind=attention_in&heads=4",
    ],
)
def test_what_is_pruned_is_hatched_wherever_there_is_room(lab: Lab, query: str) -> None:
    page, _ = lab(query)
    colours = page.locator(".lab").evaluate(
        """({ lab }) => {
          const { mask, layer, stage } = lab
          const { xs, ys, pixels } = stage.pictures.get('mask').quick
          const [grey, line] = [hex(layer.look.pruned), hex(layer.look.mark)]
          const found = [0, 0]
          pixels.forEach(pixel => (found[0] += pixel === grey, found[1] += pixel === line))
          return found
        }""".replace(
            "hex(",
            "(text => parseInt((text + 'FF').slice(1, 9).match(/../g).reverse().join(''), 16))(",
        )
    )
    assert 0.1 < colours[1] / colours[0] < 0.4


def test_looks(lab: Lab) -> None:
    page, _ = lab("shape=16x16x3x3&g=kernel&levels=5")
    page.mouse.click(*over_cell(page, 1, 1))
    expect(page.locator(".counts")).to_contain_text("1 by hand")
    for theme, width in (("light", 1280), ("dark", 800)):
        settled(dressed(page, theme, width))
        page.wait_for_function("document.documentElement.scrollWidth <= innerWidth")
        shot(page, f"mask_lab_{theme}_{width}")


def test_n_of_m_is_a_switch(lab: Lab) -> None:
    page, _ = lab("shape=16x16x1x1&g=2:4&ratio=0.5")
    removes(page, 128)
    page.get_by_label("Prune this layer 2:4").click()
    page.get_by_text("ratio 0.0 |").wait_for()
    removes(page, 0)


def test_a_layer_that_cannot_be_cut_shows_its_weights(lab: Lab) -> None:
    page, _ = lab("shape=16x16x1x1&g=kernel")
    expect(page.locator(".counts")).to_contain_text("cannot be pruned")
    expect(page.get_by_role("slider", name="Remove")).to_be_disabled()
