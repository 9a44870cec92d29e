"""A link to a view of "Look closer" leads there; a view chosen by hand hides nothing."""

from playwright.sync_api import Page, expect

from tests.browser.app_page import no_traceback
from tests.browser.conftest import Console, OpenPage, settled

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


def test_a_link_to_a_view_leads_there(open_page: OpenPage, console: Console) -> None:
    """What is below waits for the view. What is above is drawn first."""
    page = open_page("?model=lenet5&layer=conv2.weight&closer=Filters", width=800)
    table = page.locator(".st-key-layer_table canvas").first
    page.get_by_text("kernel by kernel").wait_for()
    expect(table).to_be_visible()
    settled(page)
    page.wait_for_function(AT_THE_TOP)
    a_view_that_is_chosen_by_hand_hides_nothing(page)
    no_traceback(page, console)
