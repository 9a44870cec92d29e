"""A link to a view of "Look closer": it leads there, and nothing on the page jumps meanwhile, also
where the script of what is above comes last. A view chosen by hand hides nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.browser.app_page import no_traceback
from tests.browser.audit import MOST_SHIFT, moved
from tests.browser.conftest import Console, OpenPage, settled

HTML = "**/static/js/Html.*.js"
"""The script of the layer's panel above the view. It is 550 pixels high, its grey box 40."""
AT_REST = """() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(
  () => done(document.querySelector('[data-testid=stMain]').scrollTop))))"""

AT_THE_TOP = """() => {
  const { y } = document.querySelector('.st-key-closer').getBoundingClientRect()
  return Math.abs(y - 75) < 9
}"""

WATCH = """() => {
  const below = () => document.querySelector('.st-key-below_look_closer')
  globalThis.gone = 0
  const look = () => {
    if (!below()?.checkVisibility()) globalThis.gone += 1
    requestAnimationFrame(look)
  }
  look()
}"""
"""Counts the frames in which what is below the view is not shown."""


def a_view_that_is_chosen_by_hand_hides_nothing(page: Page) -> None:
    """None is open before. What is below stays while the view is computed."""
    page.evaluate(WATCH)
    views = page.locator(".st-key-closer")
    views.get_by_text("Filters").click()
    page.get_by_text("Choose a view").wait_for()
    views.get_by_text("Dropout").click()
    page.get_by_role("button", name="Freeze this sample").first.wait_for()
    settled(page)
    assert page.evaluate("globalThis.gone") == 0


@contextmanager
def kept_back(profile: BrowserContext, address: str) -> Iterator[list[Route]]:
    """The requests for the address, none of which is answered until the context ends."""
    asked: list[Route] = []

    def keep(route: Route) -> None:
        asked.append(route)

    profile.route(address, keep)
    try:
        yield asked
    finally:
        for route in asked:
            route.continue_()
        profile.unroute(address)


def test_a_link_to_a_view_leads_there_and_moves_nothing(
    open_page: OpenPage, profile: BrowserContext, console: Console
) -> None:
    """What is below waits for the view. What is above is drawn first: it moved the view by 0.21."""
    with kept_back(profile, HTML) as asked:
        page = open_page("?model=lenet5&layer=conv2.weight&closer=Filters", width=800)
        page.get_by_text("kernel by kernel").wait_for()
        page.locator(".st-key-lab .lab[data-drawn]").wait_for()
        page.locator(".st-key-network_map .net-map[data-drawn]").wait_for()
        assert page.evaluate(AT_REST) == 0
        assert asked
    table = page.locator(".st-key-layer_table .layers[data-drawn]")
    expect(table).to_be_visible()
    settled(page)
    page.wait_for_function(AT_THE_TOP)
    assert moved(page) < MOST_SHIFT
    a_view_that_is_chosen_by_hand_hides_nothing(page)
    no_traceback(page, console)
