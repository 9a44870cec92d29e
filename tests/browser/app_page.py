"""The app's pages as a person uses them: choices, sliders, navigation, numbers, the mask lab and
the network map on Explore.
"""

from playwright.sync_api import Locator, Page, expect

from tests.browser.audit import moved
from tests.browser.conftest import Console, settled

LEFT = "() => document.querySelector('[data-testid=stMain]').getBoundingClientRect().x"
CLICK = f"link => {{ link.click(); return ({LEFT})() }}"
"""Where the page begins as soon as the link is clicked, in pixels."""


def leave(page: Page, address: str) -> None:
    """Waits until the address is another one."""
    page.wait_for_url(lambda url: url != address)


def forget(page: Page, parameter: str) -> None:
    """Waits until the address has no such parameter."""
    page.wait_for_url(lambda url: parameter not in url)


def pick(page: Page, key: str, label: str) -> None:
    """Chooses from a select box, as with the mouse, until the address says so; what is chosen
    already is left.
    """
    box = page.locator(f".st-key-{key}").get_by_role("combobox")
    before = page.url
    if box.input_value() == label:
        return
    box.click()
    page.get_by_role("option", name=label, exact=True).click()
    leave(page, before)
    settled(page)


def slide(page: Page, key: str, presses: int) -> None:
    """Moves a slider with the arrow keys, until the address says so: the browser reports a move
    only a while after it.
    """
    before = page.url
    thumb = page.locator(f".st-key-{key}").get_by_role("slider")
    goal = int(thumb.input_value()) + presses
    for _ in range(
        200
    ):  # a slider that is drawn anew is there twice for a moment, and loses the focus
        expect(thumb).to_have_count(1)
        if (left := goal - int(thumb.input_value())) == 0:
            break
        thumb.focus()
        page.keyboard.press("ArrowRight" if left > 0 else "ArrowLeft")
    leave(page, before)
    settled(page)


def go(page: Page, title: str) -> None:
    """To another page; a narrow window keeps the last ones in a menu, and shows neither for a
    moment.
    """
    link = page.get_by_role("link", name=title)
    menu = page.get_by_test_id("stTopNavSection")
    link.or_(menu).first.wait_for()
    page.wait_for_timeout(500)
    if link.count():
        link.click()
    else:
        menu.click()
        page.get_by_role("menuitem", name=title).click()
    settled(page)


def leave_bare(page: Page, link: Locator) -> None:
    """From a page without a side bar, by a link: the side bar has its place from the click on, so
    that nothing moves when it comes.
    """
    expect(page.get_by_test_id("stSidebar")).to_have_count(0)
    at_once = link.evaluate(CLICK)
    expect(page.get_by_test_id("stSidebar")).to_be_visible()
    settled(page)
    assert page.evaluate(LEFT) == at_once > 200
    expect(page.locator("html[data-leaves]")).to_have_count(0)


def card(page: Page, label: str) -> Locator:
    """The value of the number card with that label."""
    return page.get_by_test_id("stMetric").filter(has_text=label).get_by_test_id("stMetricValue")


def metric(page: Page, label: str) -> str:
    return card(page, label).inner_text()


def no_traceback(page: Page, console: Console) -> None:
    expect(page.get_by_test_id("stException")).to_have_count(0)
    assert console == [], "\n".join(console)


def lab(page: Page, part: str) -> str:
    return page.locator(f".lab {part}").inner_text()


def press(page: Page, keys: str) -> None:
    """Keys on the lab's slider; letting the last one up reports once."""
    slider = page.locator(".lab .slider input")
    slider.focus()
    for key in keys.split():
        slider.press(key)
    settled(page)


def flip(page: Page, across: float, down: float) -> None:
    """Clicks at that share of the picture of the weights."""
    picture = page.locator(".lab figure[data-show=weights] canvas.ink")
    box = picture.bounding_box()
    assert box
    picture.click(position={"x": box["width"] * across, "y": box["height"] * down})
    settled(page)


def map_box(page: Page, name: str) -> Locator:
    """A layer's box in the network map."""
    return page.locator(f'.net-map [data-id="{name}"]')


def the_first_load_moves_little(page: Page, most: float) -> None:
    """The map and the lab take their places after all else is drawn."""
    page.locator(".net-map[data-drawn]").wait_for()
    page.locator(".lab[data-drawn]").wait_for()
    assert moved(page) < most
