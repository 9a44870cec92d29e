"""The mask lab and the network map on the Explore page: what is done there reaches the numbers, the
table, the address and the next visitor.

Each alone on a page: tests/browser/test_mask_lab*.py and test_network_map.py.
"""

import csv
import re
from pathlib import Path

from playwright.sync_api import Page, expect

from explorer.texts.help import TEXTS
from tests.browser.app_page import (
    card,
    flip,
    forget,
    lab,
    map_box,
    metric,
    no_traceback,
    pick,
    press,
    the_first_load_moves_little,
)
from tests.browser.audit import MOST_SHIFT, first_screen
from tests.browser.conftest import USUAL, Console, OpenPage, change_address, settled

ONE_EDIT = re.compile(r"edits=conv2\.weight(~|%7E)kernel(~|%7E)[kp]\d+(&|$)")
START = "?model=lenet5&granularity=kernel&layer=conv2.weight"
OTHER = "?model=vit&granularity=head"


def a_release_moves_everything(page: Page) -> None:
    expect(page.locator(".lab .asked")).to_have_text("50%")
    expect(page.get_by_text("50% of the prunable weights")).to_be_visible()
    press(page, "ArrowRight")
    page.wait_for_url(re.compile(r"overrides=conv2\.weight(~|%7E)0\.51(&|$)"))
    expect(page.locator(".lab .counts")).to_contain_text("49 of 96 groups")
    expect(page.get_by_role("cell", name="47 of 96", exact=True)).to_have_count(1)
    page.get_by_text("51%, set by hand.").wait_for()
    settled(page)
    looks_usable(page, "reset", but_not="lock")
    page.locator(".st-key-reset").get_by_role("button").click()
    forget(page, "overrides")
    settled(page)
    expect(page.locator(".lab .asked")).to_have_text("50%")
    looks_usable(page, "lock", but_not="reset")


def looks_usable(page: Page, key: str, *, but_not: str) -> None:
    """A button in the colour of the page's text, and another one that is paler."""
    text = page.locator("body").evaluate("body => getComputedStyle(body).color")
    usable, other = (page.locator(f".st-key-{name} button").first for name in (key, but_not))
    expect(usable).to_be_enabled()
    expect(usable).to_have_css("color", text)
    expect(usable).to_have_css("cursor", "pointer")
    expect(other).to_be_disabled()
    expect(other).not_to_have_css("color", text)
    expect(other).to_have_css("cursor", "not-allowed")


def flips_are_in_the_address_until_undone_or_cleared(page: Page) -> None:
    flip(page, 0.3, 0.3)
    page.wait_for_url(ONE_EDIT)
    settled(page)
    first = page.url
    flip(page, 0.7, 0.7)
    page.get_by_text("2 groups are kept or removed by hand.").wait_for()
    settled(page)
    page.locator(".lab [data-do=undo]").click()
    page.wait_for_url(lambda url: url == first)
    settled(page)
    page.locator(".lab [data-do=clear]").click()
    forget(page, "edits=")
    settled(page)


def a_plan_of_the_lab_and_by_hand(page: Page) -> None:
    press(page, "ArrowLeft ArrowLeft")
    page.wait_for_url(re.compile(r"overrides=conv2\.weight(~|%7E)0\.48(&|$)"))
    settled(page)
    flip(page, 0.42, 0.42)
    page.wait_for_url(re.compile("overrides=.*edits="))
    settled(page)
    expect(page.locator(".lab .counts")).to_contain_text("by hand")


def a_link_opens_the_same_view(first: Page, second: Page) -> None:
    for label in ("Accuracy", "Weights removed", "Parameters left", "MACs left"):
        expect(card(second, label)).to_have_text(metric(first, label))
    for part in (".asked", ".counts"):
        expect(second.locator(f".lab {part}")).to_have_text(lab(first, part))
    expect(second.locator(".lab .asked")).to_have_text("48%")
    expect(second.locator(".lab .counts")).to_contain_text("by hand")


def back_brings_the_whole_plan(page: Page) -> None:
    """The other network lacks the layer: its ratio and edits leave and return together."""
    before = lab(page, ".counts")
    pick(page, "model", "VGG (batch norm)")
    page.wait_for_url(re.compile("model=vgg"))
    forget(page, "edits")
    settled(page)
    page.go_back()
    settled(page)
    page.wait_for_url(re.compile("overrides=.*edits="))
    expect(page.locator(".lab .counts")).to_have_text(before)


def the_language_changes_the_lab_and_the_map_too(page: Page) -> None:
    page.get_by_text("中文", exact=True).click()
    expect(page.locator(".lab [data-do=undo]")).to_have_text("撤销")
    expect(page.locator(".lab .counts")).to_contain_text("剪掉：")
    expect(page.locator(".net-map .readout")).to_contain_text("保留")
    settled(page)


def test_what_is_done_in_the_lab_is_on_the_page_and_in_the_address(
    open_page: OpenPage, keep_page: OpenPage, console: Console
) -> None:
    """On one page, one after the other: each of the first parts leaves it as it was. Another
    browser opens the same view from its address, and at the first address what was there before.
    """
    page = keep_page(OTHER)
    left = metric(page, "Parameters left")
    change_address(page, START)
    expect(card(page, "Parameters left")).not_to_have_text(left)
    settled(page)  # a widget of the last address would else be reported with the release
    a_release_moves_everything(page)
    flips_are_in_the_address_until_undone_or_cleared(page)
    a_plan_of_the_lab_and_by_hand(page)
    page.wait_for_url(re.compile("model=lenet5"))
    other = open_page(page.url.split("/", 3)[3], another=True)
    the_first_load_moves_little(other, MOST_SHIFT)
    a_link_opens_the_same_view(page, other)
    change_address(other, f"/{OTHER}")
    expect(card(other, "Parameters left")).to_have_text(left)
    the_language_changes_the_lab_and_the_map_too(other)
    back_brings_the_whole_plan(page)
    no_traceback(page, console)


def n_of_m_is_switched_off_and_on(page: Page) -> None:
    box = page.locator(".lab .fixed input")
    expect(box).to_be_checked()
    box.uncheck(force=True)
    page.wait_for_url(re.compile("overrides="))
    page.get_by_text("Kept dense by hand.").wait_for()
    settled(page)
    box.check(force=True)
    forget(page, "overrides=")
    settled(page)


def a_frozen_sample_is_the_plan_until_the_way_back(page: Page) -> None:
    page.get_by_test_id("stButtonGroup").get_by_text("Dropout").click()
    button = page.locator(".st-key-freeze_1").get_by_role("button")
    before = metric(page, "Accuracy")
    expect(button).to_have_text(re.compile("Freeze this sample as a mask"))
    settled(page)
    right = page.locator(".pe-sheet .card").nth(1).locator("p").first.inner_text()
    button.click()
    page.wait_for_url(re.compile(r"criterion=random.*seed=2(&|$)"))
    expect(button).to_have_text(re.compile("This is the plan's mask"))
    expect(card(page, "Accuracy")).to_have_text(right.removesuffix(" correct"))
    settled(page)
    page.go_back()
    expect(card(page, "Accuracy")).to_have_text(before)
    expect(button).to_have_text(re.compile("Freeze this sample as a mask"))
    settled(page)


def is_everywhere(page: Page, name: str) -> None:
    """The map, the address, the panel and the table speak of that layer."""
    expect(map_box(page, name)).to_have_attribute("aria-selected", "true")
    expect(page.locator(".net-map [aria-selected=true]")).to_have_count(1)
    page.wait_for_url(f"**layer={name}**", timeout=USUAL)
    settled(page)
    expect(page.locator(".layers input:checked")).to_have_value(name)
    expect(page.locator(".layers .chosen")).to_have_attribute("data-name", name)
    expect(page.locator(".st-key-layer_choice").get_by_role("combobox")).to_have_value(name)


def a_click_and_the_arrow_keys_choose_the_layer_everywhere(page: Page) -> None:
    map_box(page, "fc1.weight").click()
    is_everywhere(page, "fc1.weight")
    page.keyboard.press("ArrowRight")
    is_everywhere(page, "fc2.weight")
    expect(map_box(page, "fc1.weight").locator(".share")).to_have_text("20%")
    expect(map_box(page, "fc1.weight")).to_have_attribute(
        "aria-label",
        "fc1 20% · fc1.weight · Linear · 120 × 64 × 1 × 1 · 7,680 weights · 7,680 MACs · kept 20%",
    )


def layer_names(page: Page) -> list[str]:
    """The table's rows, from the first to the last."""
    names: list[str] = page.locator(".layers tbody tr").evaluate_all(
        "rows => rows.map(row => row.dataset.name)"
    )
    return names


def a_row_of_the_table_chooses_its_layer(page: Page) -> None:
    """By a click anywhere on it, as the help of the layer's menu says, and by the arrow keys."""
    assert "a row of the table" in TEXTS["layer"]
    row = page.locator(".layers tr", has_text="conv2.weight")
    row.get_by_text("Convolution").click()
    is_everywhere(page, "conv2.weight")
    expect(row.get_by_role("radio")).to_be_focused()
    page.keyboard.press("ArrowDown")
    is_everywhere(page, "fc1.weight")


def the_keyboard_shows_the_help_of_a_column(page: Page) -> None:
    """Without a pointer; the help is no part of the column's name."""
    page.get_by_role("button", name="Weights", exact=True).focus()
    page.keyboard.press("Tab")
    column = page.get_by_role("columnheader", name="Shape", exact=True).get_by_role("button")
    expect(column).to_be_focused()
    shown = column.evaluate("each => getComputedStyle(each, '::before').content")
    assert "Outputs (filters) × inputs (channels)" in shown
    column.evaluate("each => each.blur()")
    assert column.evaluate("each => getComputedStyle(each, '::before').content") == "none"


def the_table_is_sorted_by_a_column_and_saved(page: Page) -> None:
    usual = layer_names(page)
    column = page.get_by_role("columnheader", name="Weights", exact=True)
    column.get_by_role("button").click()
    expect(column).to_have_attribute("aria-sort", "ascending")
    assert layer_names(page) == [
        "conv1.weight",
        "fc3.weight",
        "conv2.weight",
        "fc1.weight",
        "fc2.weight",
    ]
    column.get_by_role("button").click()
    expect(column).to_have_attribute("aria-sort", "descending")
    assert layer_names(page)[0] == "fc2.weight"
    column.get_by_role("button").click()
    assert layer_names(page) == usual
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as CSV").click()
    with Path(download.value.path()).open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["Layer"] for row in rows] == usual
    assert [int(row["Weights"]) for row in rows] == [150, 2400, 7680, 10080, 840]


def shares_follow_the_slider(page: Page) -> None:
    page.locator(".st-key-sparsity").get_by_role("slider").focus()
    page.keyboard.press("End")
    page.wait_for_url("**sparsity=1.0**", timeout=USUAL)
    settled(page)
    expect(map_box(page, "fc1.weight").locator(".share")).to_have_text("0.01%")


def the_first_screen_is_small(page: Page) -> None:
    """Of the default network."""
    controls, words = first_screen(page)
    assert len(controls) <= 30, controls
    assert len(words) <= 120, " ".join(words)


def a_button_of_a_picture_is_seen_with_the_focus(page: Page) -> None:
    tools = page.locator(".st-key-picture").get_by_test_id("stElementToolbar")
    page.mouse.move(2, 2)
    expect(tools).to_have_css("opacity", "0")
    tools.get_by_role("button").focus()
    expect(tools).to_have_css("opacity", "1")


def a_choice_made_elsewhere_is_outlined_in_the_map(page: Page) -> None:
    change_address(page, "?model=resnet20&layer=layer3.1.conv2.weight")
    is_everywhere(page, "layer3.1.conv2.weight")
    the_first_screen_is_small(page)
    a_button_of_a_picture_is_seen_with_the_focus(page)
    expect(map_box(page, "layer1.0.conv1.weight")).to_have_count(0)
    page.locator(".st-key-layer_choice").get_by_role("combobox").click()
    page.get_by_role("option", name="layer1.1.conv1.weight", exact=True).click()
    is_everywhere(page, "layer1.1.conv1.weight")


def test_the_map_n_of_m_and_what_is_looked_at_closer_are_in_the_address(
    keep_page: OpenPage, console: Console
) -> None:
    """On one page, one after the other."""
    page = keep_page("?model=lenet5&sparsity=0.8")
    a_click_and_the_arrow_keys_choose_the_layer_everywhere(page)
    a_row_of_the_table_chooses_its_layer(page)
    the_keyboard_shows_the_help_of_a_column(page)
    the_table_is_sorted_by_a_column_and_saved(page)
    shares_follow_the_slider(page)
    a_choice_made_elsewhere_is_outlined_in_the_map(page)
    change_address(page, "?model=lenet5&layer=fc1.weight&granularity=4:8")
    expect(page.locator(".lab .fixed")).to_contain_text("4:8")
    n_of_m_is_switched_off_and_on(page)
    change_address(page, f"{START}&closer=Filters&filter=5")
    number = page.locator(".st-key-filter input")
    expect(number).to_have_value("5")
    number.fill("7")
    number.press("Enter")
    page.wait_for_url(re.compile(r"filter=7(&|$)"))
    page.get_by_text("Filter 7, kernel by kernel").wait_for()
    number.fill("0")
    number.press("Enter")
    forget(page, "filter=7")
    settled(page)
    a_frozen_sample_is_the_plan_until_the_way_back(page)
    no_traceback(page, console)
