"""The mask lab on a page in a real Chromium: no message during a drag, keys, hover, edits by hand, looks."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, WebSocket, expect

from tests.browser.conftest import Console, served, settled, shot


@pytest.fixture(scope="module")
def lab_url(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served("tests/browser/mask_lab_app.py", tmp_path_factory.mktemp("lab") / "server.log") as url:
        yield url


class Wire:
    """Sizes of the messages between browser and server, as they pass."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.received: list[int] = []

    def listen(self, page: Page) -> None:
        page.on("websocket", self._socket)

    def _socket(self, wire: WebSocket) -> None:
        wire.on("framesent", lambda data: self.sent.append(len(data)))
        wire.on("framereceived", lambda data: self.received.append(len(data)))


@pytest.fixture
def lab(browser: Browser, lab_url: str) -> Iterator[Callable[..., tuple[Page, Wire]]]:
    """`lab("shape=8x4x3x3&g=kernel", theme, width)`: the lab on a page of its own; its console must stay clean."""
    contexts, console = [], Console()

    def open_(query: str, theme: str = "light", width: int = 1280) -> tuple[Page, Wire]:
        context = browser.new_context(
            color_scheme="dark" if theme == "dark" else "light", viewport={"width": width, "height": 1000}
        )
        contexts.append(context)
        page, wire = context.new_page(), Wire()
        console.listen(page)
        wire.listen(page)
        page.goto(f"{lab_url}/?{query}")
        expect(page.locator(".lab[data-drawn]")).to_be_visible(timeout=60_000)
        return settled(page), wire

    yield open_
    for context in contexts:
        context.close()
    assert not console


def over_cell(page: Page, row: int, col: int, figure: str = "weights") -> tuple[float, float]:
    """Where on the screen the middle of a cell is."""
    x, y = page.locator(".lab").evaluate(
        """({ lab }, [row, col, name]) => {
          const frame = lab.root.querySelector(`[data-show=${name}] .frame`).getBoundingClientRect()
          const [x, y, w, h] = lab.stage.box(lab.mask, row, col)
          return [frame.left + 1 + (x + w / 2) / lab.stage.dpr, frame.top + 1 + (y + h / 2) / lab.stage.dpr]
        }""",
        [row, col, figure],
    )
    return x, y


def pruned_groups(page: Page) -> int:
    return int(page.locator(".lab").evaluate("({ lab }) => lab.mask.counts().gone"))


def test_a_drag_is_drawn_without_the_server_and_reported_once(lab: Callable[..., tuple[Page, Wire]]) -> None:
    page, wire = lab("shape=128x128x1x1&g=fine&levels=7")
    assert max(wire.received) > 150_000
    assert pruned_groups(page) == 8192
    slider = page.get_by_role("slider", name="Remove")
    box = slider.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    sent, seen = len(wire.sent), set()
    for step in range(30):
        page.mouse.move(box["x"] + box["width"] * (0.5 + step / 100), box["y"] + box["height"] / 2)
        page.evaluate("() => new Promise(requestAnimationFrame)")
        seen.add(page.locator(".counts").inner_text())
    assert len(seen) > 20
    assert len(wire.sent) == sent
    received = len(wire.received)
    page.mouse.up()
    expect(page.get_by_text("runs 2 |")).to_be_visible()
    settled(page)
    assert len(wire.sent) == sent + 1
    assert sum(wire.received[received:]) < 100_000
    ratio = float(slider.input_value()) / 1000
    expect(page.get_by_text(f"runs 2 | ratio {ratio} | edits []")).to_be_visible()
    assert pruned_groups(page) == round(ratio * 16384)


def test_keys_move_the_slider_and_report_when_they_come_up(lab: Callable[..., tuple[Page, Wire]]) -> None:
    page, wire = lab("shape=16x8x3x3&g=kernel")
    slider = page.get_by_role("slider", name="Remove")
    slider.focus()
    sent = len(wire.sent)
    for _ in range(3):
        page.keyboard.down("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "53%"
    page.wait_for_timeout(200)
    assert len(wire.sent) == sent
    page.keyboard.up("ArrowRight")
    expect(page.get_by_text("ratio 0.53 |")).to_be_visible()
    page.keyboard.press("Shift+ArrowLeft")
    expect(page.get_by_text("ratio 0.529 |")).to_be_visible()
    page.keyboard.press("End")
    expect(page.get_by_text("ratio 1.0 |")).to_be_visible()
    assert pruned_groups(page) == 127
    page.get_by_role("button", name="Python says 25%").click()
    expect(slider).to_have_attribute("aria-valuetext", "25%")
    assert pruned_groups(page) == 32


def test_what_python_does_not_take_over_is_given_up(lab: Callable[..., tuple[Page, Wire]]) -> None:
    page, _ = lab("shape=16x8x3x3&g=kernel&echo=0")
    slider = page.get_by_role("slider", name="Remove")
    slider.press("ArrowRight")
    expect(page.get_by_text("found 0.51 None None")).to_be_visible()
    expect(slider).to_have_attribute("aria-valuetext", "50%")


def test_pointing_at_a_cell_tells_all_about_it(lab: Callable[..., tuple[Page, Wire]]) -> None:
    page, _ = lab("shape=16x8x3x3&g=kernel&levels=3")
    page.mouse.move(*over_cell(page, 5, 7))
    readout = page.locator(".readout")
    expect(readout).to_contain_text("filter 1 · channel 2 · row 2 · column 1 · weight")
    for part in ("group score", "of 128, lowest first", "goes at "):
        expect(readout).to_contain_text(part)
    page.mouse.move(*over_cell(page, 5, 7, "mask"))
    expect(readout).to_contain_text("filter 1 · channel 2 · row 2 · column 1")
    page.mouse.move(2, 2)
    expect(readout).to_contain_text("Point at a cell")


def test_a_click_flips_a_group_and_undo_takes_it_back(lab: Callable[..., tuple[Page, Wire]]) -> None:
    page, _ = lab("shape=16x8x3x3&g=kernel")
    keeps = page.locator(".lab").evaluate("({ lab }) => lab.mask.keepsGroup(0)")
    page.mouse.click(*over_cell(page, 1, 1))
    expect(page.get_by_text(f"edits [[0, 0, {not keeps}]]")).to_be_visible()
    expect(page.get_by_text("(0, 0)")).to_be_visible()
    assert pruned_groups(page) == 64 + (1 if keeps else -1)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("edits []")).to_be_visible()
    assert pruned_groups(page) == 64
    page.get_by_role("button", name="Redo").click()
    expect(page.get_by_text(f"edits [[0, 0, {not keeps}]]")).to_be_visible()
    page.get_by_role("slider", name="Remove").press("PageUp")
    expect(page.get_by_text(f"ratio 0.6 | edits [[0, 0, {not keeps}]]")).to_be_visible()
    page.get_by_role("button", name="Clear edits").click()
    expect(page.get_by_text("edits []")).to_be_visible()


def test_the_keyboard_reaches_every_cell_flips_and_zooms(lab: Callable[..., tuple[Page, Wire]]) -> None:
    page, _ = lab("shape=16x8x3x3&g=filter")
    stage = page.get_by_role("application")
    stage.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    expect(page.locator(".spoken")).to_contain_text("filter 1, channel 0, row 0, column 1")
    page.keyboard.press("Enter")
    expect(page.get_by_text("edits [[0, 1, ")).to_be_visible()
    page.keyboard.press("Control+z")
    expect(page.get_by_text("edits []")).to_be_visible()
    zoom = "({ lab }) => lab.stage.view.zoom"
    page.keyboard.press("+")
    assert page.locator(".lab").evaluate(zoom) == pytest.approx(1.5)
    page.keyboard.press("0")
    assert page.locator(".lab").evaluate(zoom) == 1


def test_wheel_zooms_drag_pans_and_the_minimap_shows_where(lab: Callable[..., tuple[Page, Wire]]) -> None:
    page, wire = lab("shape=64x64x3x3&g=kernel")
    sent = len(wire.sent)
    x, y = over_cell(page, 30, 30)
    page.mouse.move(x, y)
    for _ in range(6):
        page.mouse.wheel(0, -200)
    expect(page.locator("canvas.map")).to_be_visible()
    view = "({ lab }) => ({ ...lab.stage.view })"
    before = page.locator(".lab").evaluate(view)
    page.mouse.down()
    page.mouse.move(x - 40, y - 30, steps=4)
    page.mouse.up()
    after = page.locator(".lab").evaluate(view)
    assert after["x"] > before["x"]
    assert after["y"] > before["y"]
    expect(page.locator(".counts")).not_to_contain_text("by hand")
    assert len(wire.sent) == sent
    shot(page, "mask_lab_zoomed")


@pytest.mark.parametrize(
    "query", ["shape=16x16x1x1&g=fine", "shape=24x24x3x3&g=filter", "shape=192x64x1x1&g=head&kind=attention_in&heads=4"]
)
def test_what_is_pruned_is_hatched_wherever_there_is_room(lab: Callable[..., tuple[Page, Wire]], query: str) -> None:
    page, _ = lab(query)
    colours = page.locator(".lab").evaluate(
        """({ lab }) => {
          const { mask, layer, stage } = lab
          const { xs, ys, pixels } = stage.pictures.get('mask').quick
          const [grey, line] = [hex(layer.look.pruned), hex(layer.look.mark)]
          const found = [0, 0]
          pixels.forEach(pixel => (found[0] += pixel === grey, found[1] += pixel === line))
          return found
        }""".replace("hex(", "(text => (0xff000000 | parseInt(text.slice(5) + text.slice(3, 5) + text.slice(1, 3), 16)) >>> 0)(")
    )
    assert 0.1 < colours[1] / colours[0] < 0.4


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 800])
def test_looks(lab: Callable[..., tuple[Page, Wire]], theme: str, width: int) -> None:
    page, _ = lab("shape=16x16x3x3&g=kernel&levels=5", theme, width)
    page.mouse.click(*over_cell(page, 1, 1))
    expect(page.locator(".counts")).to_contain_text("1 by hand")
    settled(page)
    shot(page, f"mask_lab_{theme}_{width}")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_large_layer_is_reduced_and_says_so(lab: Callable[..., tuple[Page, Wire]]) -> None:
    page, wire = lab("shape=2048x1024x1x1&g=fine")
    assert max(wire.received) < 1_000_000
    expect(page.locator(".note")).to_contain_text("Reduced: a cell stands for")
    expect(page.locator(".counts")).to_contain_text("1,048,576 of 2,097,152 weights")


def test_n_of_m_is_a_switch(lab: Callable[..., tuple[Page, Wire]]) -> None:
    page, _ = lab("shape=16x16x1x1&g=2:4&ratio=0.5")
    assert pruned_groups(page) == 128
    page.get_by_label("Cut this layer 2:4").click()
    expect(page.get_by_text("ratio 0.0 |")).to_be_visible()
    assert pruned_groups(page) == 0


def test_a_layer_that_cannot_be_cut_shows_its_weights(lab: Callable[..., tuple[Page, Wire]]) -> None:
    page, _ = lab("shape=16x16x1x1&g=kernel")
    expect(page.locator(".counts")).to_contain_text("cannot be cut")
    expect(page.get_by_role("slider", name="Remove")).to_be_disabled()
