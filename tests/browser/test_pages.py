"""What holds for the app as a whole: links, sessions apart, hand-edited addresses, no page wider
than its window.
"""

import re

from playwright.sync_api import Page, expect

from tests.browser.app_page import card, flip, go, lab, metric, no_traceback, pick, press, slide
from tests.browser.conftest import Console, OpenPage, dressed, settled, shot

TITLES = ("Explore", "Sensitivity", "Fine-tune & compare", "Flows", "Methods", "Export")
FITS = """() => {
  const main = document.querySelector('[data-testid=stMain]')
  return main && main.scrollWidth <= main.clientWidth + 1
}"""


def test_a_link_opens_the_same_view_in_another_browser_and_tabs_never_see_each_other(
    open_page: OpenPage,
) -> None:
    first = open_page("?model=lenet5&layer=conv2.weight&sparsity=0.9")
    tab = open_page("?model=lenet5&sparsity=0.2")
    low = metric(first, "Parameters left")
    high = metric(tab, "Parameters left")
    assert low != high
    pick(first, "granularity", "Kernel")
    slide(first, "sparsity", -3)
    first.wait_for_url(re.compile(r"sparsity=0\.87(&|$)"))
    settled(first)
    expect(card(first, "Parameters left")).not_to_have_text(low)
    assert metric(tab, "Parameters left") == high
    tab.reload()
    assert metric(settled(tab), "Parameters left") == high
    press(first, "ArrowRight ArrowRight")
    first.wait_for_url(re.compile(r"overrides=conv2\.weight(~|%7E)0\.89(&|$)"))
    settled(first)
    flip(first, 0.42, 0.42)
    first.wait_for_url(re.compile("edits="))
    settled(first)
    assert "model=lenet5" in first.url
    link = first.url.split("/", 3)[3]
    opens_the_same(first, open_page(link, another=True))


def opens_the_same(first: Page, second: Page) -> None:
    for label in ("Accuracy", "Weights removed", "Parameters left", "MACs left"):
        expect(card(second, label)).to_have_text(metric(first, label))
    for part in (".asked", ".counts"):
        expect(second.locator(f".lab {part}")).to_have_text(lab(first, part))
    assert lab(second, ".asked") == "89%"
    assert "by hand" in lab(second, ".counts")


def a_hand_edited_address_is_reported_and_the_app_goes_on(page: Page, console: Console) -> None:
    for words in ("outside", "kernal", "resnet21", "cifar11"):
        page.get_by_text(re.compile(words)).first.wait_for()
    no_traceback(page, console)
    pick(page, "model", "LeNet-5")
    expect(card(page, "Accuracy")).to_have_text(re.compile(r"^[\d.]+%$"))
    no_traceback(page, console)


def fits(page: Page, name: str, theme: str, width: int) -> None:
    """Nothing sticks out at that width, once all is drawn anew."""
    settled(dressed(page, theme, width))
    page.wait_for_function(FITS)
    shot(page, f"{name}-{theme}-{width}")


def test_from_a_hand_edited_address_to_every_page_and_none_is_wider_than_its_window(
    open_page: OpenPage, console: Console
) -> None:
    page = open_page("?sparsity=7&granularity=kernal&model=resnet21&dataset=cifar11")
    a_hand_edited_address_is_reported_and_the_app_goes_on(page, console)
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
        page.wait_for_url(re.compile(f"/{title.lower()}"))
    no_traceback(page, console)
