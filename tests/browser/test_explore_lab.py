"""The mask lab on the Explore page: what is done there reaches the numbers, the table, the address
and the next visitor.
"""

import re

from playwright.sync_api import Page, expect

from tests.browser.app_page import card, flip, forget, lab, metric, no_traceback, pick, press, slide
from tests.browser.conftest import Console, OpenPage, change_address, settled

ONE_EDIT = re.compile(r"edits=conv2\.weight(~|%7E)kernel(~|%7E)[kp]\d+(&|$)")
START = "?model=lenet5&granularity=kernel&layer=conv2.weight"


def a_release_moves_everything(page: Page) -> None:
    expect(page.locator(".lab .asked")).to_have_text("50%")
    expect(page.get_by_text("50% of the prunable weights")).to_be_visible()
    press(page, "ArrowRight")
    page.wait_for_url(re.compile(r"overrides=conv2\.weight(~|%7E)0\.51(&|$)"))
    expect(page.locator(".lab .counts")).to_contain_text("49 of 96 groups")
    expect(page.get_by_role("cell", name="47 of 96", exact=True)).to_have_count(1)
    page.get_by_text("51%, set by hand.").wait_for()
    settled(page)
    page.locator(".st-key-reset").get_by_role("button").click()
    forget(page, "overrides")
    settled(page)
    expect(page.locator(".lab .asked")).to_have_text("50%")


def a_flip_by_click_is_in_the_address_and_undone(page: Page) -> None:
    flip(page, 0.3, 0.3)
    page.wait_for_url(ONE_EDIT)
    settled(page)
    first = page.url
    flip(page, 0.7, 0.7)
    page.get_by_text("2 groups are kept or removed by hand.").wait_for()
    settled(page)
    undo = page.locator(".lab [data-do=undo]")
    undo.click()
    page.wait_for_url(lambda url: url == first)
    settled(page)
    undo.click()
    forget(page, "edits=")
    settled(page)
    page.locator(".lab [data-do=redo]").click()
    page.wait_for_url(lambda url: url == first)
    settled(page)


def a_flip_by_keyboard_and_clear_edits(page: Page) -> None:
    page.locator(".lab .stage").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_url(ONE_EDIT)
    settled(page)
    page.locator(".lab [data-do=clear]").click()
    forget(page, "edits=")
    settled(page)


def a_plan_of_the_slider_and_by_hand(page: Page) -> None:
    slide(page, "sparsity", -3)
    page.wait_for_url(re.compile(r"sparsity=0\.47(&|$)"))
    press(page, "ArrowRight ArrowRight")
    page.wait_for_url(re.compile(r"overrides=conv2\.weight(~|%7E)0\.49(&|$)"))
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
    assert lab(second, ".asked") == "49%"
    assert "by hand" in lab(second, ".counts")


def back_brings_the_whole_plan(page: Page) -> None:
    """The other network lacks the layer: its ratio and edits leave and return together."""
    before = lab(page, ".counts")
    pick(page, "model", "VGG (batch norm)")
    page.wait_for_url(re.compile("model=vgg"))
    settled(page)
    assert "edits" not in page.url
    page.go_back()
    settled(page)
    page.wait_for_url(re.compile("overrides=.*edits="))
    expect(page.locator(".lab .counts")).to_have_text(before)


def test_what_is_done_in_the_lab_is_on_the_page_and_in_the_address(
    open_page: OpenPage, console: Console
) -> None:
    """On one page, one after the other: each of the first parts leaves it as it was. Another tab
    sees nothing of it, and another browser opens the same view from its address.
    """
    tab = open_page("?model=lenet5&sparsity=0.2")
    low = metric(tab, "Parameters left")
    page = open_page(START)
    assert metric(page, "Parameters left") != low
    a_release_moves_everything(page)
    a_flip_by_keyboard_and_clear_edits(page)
    a_flip_by_click_is_in_the_address_and_undone(page)
    page.locator(".lab [data-do=clear]").click()
    forget(page, "edits=")
    settled(page)
    a_plan_of_the_slider_and_by_hand(page)
    assert "model=lenet5" in page.url
    a_link_opens_the_same_view(page, open_page(page.url.split("/", 3)[3], another=True))
    assert metric(tab, "Parameters left") == low
    tab.reload()
    assert metric(settled(tab), "Parameters left") == low
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


def test_n_of_m_and_what_is_looked_at_closer_are_in_the_address(
    open_page: OpenPage, console: Console
) -> None:
    page = open_page("?model=lenet5&layer=fc1.weight&granularity=4:8")
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
