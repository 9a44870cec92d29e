"""The network map alone on a page in a real Chromium: arrow keys, repeated blocks fold and open,
looks. On the Explore page: tests/browser/test_explore.py.
"""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.app_page import map_box
from tests.browser.conftest import OpenMap, dressed, settled, shot

# Boxes that are seen at first, and layers in all.
NETWORKS = [
    ("resnet50", 22, 54),
    ("vit_b_16", 3, 50),
    ("resnet20", 11, 22),
    ("vit", 4, 19),
    ("mobilenet", 12, 12),
]

# One task of the browser, so that the map waits for the last key also on a busy machine.
PRESSED = """keys => keys.forEach(key => {
  let focused = document.activeElement
  while (focused.shadowRoot?.activeElement) focused = focused.shadowRoot.activeElement
  focused.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, composed: true }))
})"""


def has_boxes(page: Page, count: int) -> None:
    expect(page.locator(".net-map [role=option]")).to_have_count(count)


def test_enter_opens_a_fold_without_the_server_and_escape_folds_it_again(open_map: OpenMap) -> None:
    page = open_map("model=resnet50")
    map_box(page, "conv1.weight").focus()
    page.keyboard.press("End")
    page.get_by_text("runs 2 | chosen fc.weight").wait_for()
    page.keyboard.press("Home")
    page.get_by_text("runs 3 | chosen conv1.weight").wait_for()
    page.keyboard.press("End")
    page.get_by_text("runs 4 | chosen fc.weight").wait_for()
    page.keyboard.press("ArrowLeft")
    fold = page.locator(".net-map .fold:focus")
    expect(fold).to_have_attribute("data-id", "fold layer4.1–2")
    expect(page.locator(".net-map .readout")).to_contain_text(
        "2 equal blocks, 6 layers, 8,912,896 weights in total"
    )
    page.keyboard.press("Enter")
    expect(page.locator(".net-map .box:focus")).to_have_attribute(
        "data-id", "layer4.1.conv1.weight"
    )
    has_boxes(page, 27)
    page.keyboard.press("Escape")
    expect(page.locator(".net-map .box:focus")).to_have_attribute("data-id", "fold layer4.1–2")
    has_boxes(page, 22)
    page.get_by_text("runs 4 | chosen fc.weight").wait_for()


def test_new_shares_change_the_boxes_that_are_there(open_map: OpenMap) -> None:
    page = open_map("model=resnet20")
    box = map_box(page, "stem.conv.weight")
    fill = box.locator(".kept").evaluate("each => each.getAttribute('height')")
    box.evaluate("each => { each.same = true }")
    page.get_by_role("button", name="Keep a quarter").click()
    expect(box.locator(".share")).to_have_text("25%")
    expect(box).to_have_attribute("aria-label", re.compile("kept 25%"))
    assert box.evaluate("each => each.same")
    assert float(box.locator(".kept").evaluate("each => each.getAttribute('height')")) == (
        pytest.approx(float(fill) / 4, abs=0.1)
    )
    page.locator(".net-map .fold").first.click()  # other boxes: the picture is drawn again
    expect(box.locator(".share")).to_have_text("25%")
    assert not box.evaluate("each => each.same")


def test_arrows_walk_between_the_lanes_and_report_where_they_rest(open_map: OpenMap) -> None:
    page = open_map("model=resnet20")
    map_box(page, "layer2.0.conv1.weight").click()
    page.get_by_text("runs 2 | chosen layer2.0.conv1.weight").wait_for()
    page.evaluate(PRESSED, ["ArrowDown", "ArrowUp", "ArrowRight", "ArrowRight"])
    page.get_by_text("runs 3 | chosen layer2.0.conv2.weight").wait_for()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowDown")
    page.get_by_text("chosen layer2.0.shortcut.conv.weight").wait_for()
    expect(page.locator(".net-map [tabindex='0']")).to_have_count(1)


def test_tab_goes_through_the_map_in_one_step(open_map: OpenMap) -> None:
    page = open_map("model=resnet20")
    page.get_by_role("button", name="Python says the last").focus()
    stops = []
    for _ in range(3):
        page.keyboard.press("Tab")
        stops.append(
            page.evaluate("() => document.activeElement.shadowRoot?.activeElement?.tagName ?? ''")
        )
    assert stops.count("g") == 1
    assert "svg" not in stops


def test_python_has_the_last_word(open_map: OpenMap) -> None:
    page = open_map("model=resnet50")
    page.get_by_role("button", name="Python says the last").click()
    expect(map_box(page, "fc.weight")).to_have_attribute("aria-selected", "true")
    expect(page.locator(".net-map [aria-selected=true]")).to_have_count(1)


def test_shares_sensitivity_and_words_of_every_box(open_map: OpenMap) -> None:
    page = open_map("model=resnet20&hurts=1")
    first = map_box(page, "stem.conv.weight")
    expect(first).to_have_attribute(
        "aria-label",
        "stem.conv 100% · stem.conv.weight · Convolution · 16 × 1 × 3 × 3 · 144 weights · "
        "9,216 MACs · kept 100% · "
        "pruned alone at 80%: +2.0 points",
    )
    expect(first.locator(".hurts")).to_have_count(0)
    other = map_box(page, "layer2.0.conv1.weight")
    heights = [
        float(other.locator(part).get_attribute("height") or 0)
        for part in (".edge", ".kept", ".hurts")
    ]
    assert heights == [
        34,
        pytest.approx(34 * 0.41, abs=0.1),
        pytest.approx(34 * 0.14 / 0.68, abs=0.1),
    ]
    other.hover()
    expect(page.locator(".readout")).to_contain_text("layer2.0.conv1.weight")
    expect(page.locator(".readout")).to_contain_text("kept 41% · pruned alone at 80%: −14.0 points")
    page.locator(".legend").hover()
    expect(page.locator(".readout")).to_contain_text("stem.conv.weight")
    expect(page.locator(".net-map .whole .share").first).to_have_text("not pruned")
    map_box(page, "layer3.0.conv1.weight").hover()
    expect(page.locator(".readout")).to_contain_text("64 → 41 outputs in the thinned network")
    expect(page.locator(".net-map .narrowed")).to_have_text("64 → 41")


def test_the_bar_of_the_chosen_layer_lies_inside_its_ring(open_map: OpenMap) -> None:
    page = open_map("model=resnet20&hurts=1")
    chosen = map_box(page, "layer2.0.conv1.weight")
    chosen.click()
    settled(page)
    ring, bar = (chosen.locator(part).bounding_box() for part in (".ring", ".hurts"))
    assert ring
    assert bar
    assert bar["x"] + bar["width"] + 1 < ring["x"] + ring["width"] - 1.25


def test_boxes_grow_with_the_root_of_their_weights_and_never_overlap(open_map: OpenMap) -> None:
    """Nor do the words below two thin layers that cannot be pruned."""
    page = settled(dressed(open_map("model=resnet20&unprunable=1"), "light", 800))
    map_box(page, "fold layer1.0–2").click()
    frame = page.locator(".net-map .frame").element_handle()
    page.wait_for_function("frame => frame.scrollWidth <= frame.clientWidth", arg=frame)
    wide = {
        name: map_box(page, name).locator(".edge").bounding_box()
        for name in ("layer2.0.conv1.weight", "layer2.0.conv2.weight")
    }
    one, other = (box["width"] - 9 for box in wide.values() if box)
    assert other / one == pytest.approx(2**0.5, rel=0.03)
    for part in (".edge", ".share"):
        places = page.locator(f".net-map [role=option] {part}").evaluate_all(
            "all => all.map(each => each.getBoundingClientRect().toJSON())"
        )
        lefts = {(round(place["top"]), round(place["left"])) for place in places}
        assert len(lefts) == len(places) > 11
        assert not any(
            a["top"] == b["top"] and a["left"] < b["left"] < a["right"]
            for a in places
            for b in places
        )


def test_module_order_has_no_arrows(open_map: OpenMap) -> None:
    page = open_map("model=resnet20&untraced=1")
    expect(page.locator(".net-map .arrow")).to_have_count(0)
    expect(page.locator(".net-map svg")).to_have_attribute(
        "aria-label", "Network map: 22 layers in call order. Arrow keys choose a layer."
    )


@pytest.mark.parametrize(("model", "seen", "layers"), NETWORKS)
def test_looks_and_large_networks_are_folded_to_what_a_screen_can_show(
    open_map: OpenMap, model: str, seen: int, layers: int
) -> None:
    page = open_map(f"model={model}&hurts=1")
    for theme, width in (("light", 1440), ("dark", 800)):
        settled(dressed(page, theme, width, 900))
        page.wait_for_function("document.documentElement.scrollWidth <= innerWidth")
        shot(page, f"net-map-{model}-{width}-{theme}")
    has_boxes(page, seen)
    runs = page.get_by_text("runs ").inner_text()
    while page.locator(".net-map .fold").count():
        page.locator(".net-map .fold").first.click()
    has_boxes(page, layers)
    expect(page.get_by_text("runs ")).to_have_text(runs)
