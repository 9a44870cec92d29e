"""What holds for the app as a whole: links, sessions apart, hand-edited addresses, no page wider
than its window.
"""

import re

from playwright.sync_api import Page, expect

from tests.browser.app_page import card, go, metric, no_traceback, pick, slide
from tests.browser.conftest import Console, OpenPage, dressed, settled, shot

TITLES = ("Explore", "Sensitivity", "Fine-tune & compare", "Flows", "Methods", "Export")
FITS = """() => {
  const main = document.querySelector('[data-testid=stMain]')
  return main && main.scrollWidth <= main.clientWidth + 1
}"""


def test_a_copied_link_opens_the_same_view_in_another_browser(open_page: OpenPage) -> None:
    first = open_page("?model=lenet5")
    pick(first, "granularity", "Filter")
    slide(first, "sparsity", -3)
    expect(first).to_have_url(re.compile(r"sparsity=0\.47(&|$)"))
    settled(first)
    first.locator(".lab .slider input").press("ArrowRight")
    expect(first).to_have_url(re.compile("overrides="))
    settled(first)
    assert "model=lenet5" in first.url
    second = open_page(first.url.split("/", 3)[3], another=True)
    for label in ("Accuracy", "Weights removed", "Parameters left", "MACs left"):
        expect(card(second, label)).to_have_text(metric(first, label))
    for part in (".asked", ".counts"):
        expect(second.locator(f".lab {part}")).to_have_text(
            first.locator(f".lab {part}").inner_text()
        )


def test_two_sessions_never_see_each_other(open_page: OpenPage) -> None:
    """Two tabs of one browser."""
    first = open_page("?model=lenet5&sparsity=0.9")
    second = open_page("?model=lenet5&sparsity=0.2")
    low = metric(first, "Parameters left")
    high = metric(second, "Parameters left")
    assert low != high
    slide(first, "sparsity", -5)
    expect(card(first, "Parameters left")).not_to_have_text(low)
    assert metric(second, "Parameters left") == high
    second.reload()
    assert metric(settled(second), "Parameters left") == high


def test_a_hand_edited_address_is_told_and_the_app_goes_on(
    open_page: OpenPage, console: Console
) -> None:
    page = open_page("?sparsity=7&granularity=kernal&model=resnet21&dataset=cifar11")
    for words in ("outside", "kernal", "resnet21", "cifar11"):
        expect(page.get_by_text(re.compile(words)).first).to_be_visible()
    no_traceback(page, console)
    pick(page, "model", "LeNet-5")
    expect(card(page, "Accuracy")).to_have_text(re.compile(r"^[\d.]+%$"))
    no_traceback(page, console)


def fits(page: Page, name: str, theme: str, width: int) -> None:
    """Nothing sticks out at that width, once all is drawn anew."""
    settled(dressed(page, theme, width))
    page.wait_for_function(FITS)
    shot(page, f"{name}-{theme}-{width}")


def test_no_page_is_wider_than_its_window_and_all_are_reached_from_a_narrow_one(
    open_page: OpenPage, console: Console
) -> None:
    page = open_page("?model=lenet5")
    for title in TITLES:
        dressed(page, "light", 1440)
        if title != "Explore":
            go(page, title)
        name = title.split()[0].lower()
        fits(page, name, "light", 1440)
        fits(page, name, "dark", 800)
        no_traceback(page, console)
    for title in ("Sensitivity", "Export"):  # still narrow: some are in a menu
        go(page, title)
        expect(page).to_have_url(re.compile(f"/{title.lower()}"))
    no_traceback(page, console)
