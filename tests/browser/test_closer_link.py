"""A link to a view of "Look closer": it leads there, and nothing on the page jumps meanwhile."""

from playwright.sync_api import expect

from tests.browser.app_page import no_traceback
from tests.browser.audit import MOST_SHIFT, moved
from tests.browser.conftest import Console, OpenPage, settled

AT_THE_TOP = """() => {
  const { y } = document.querySelector('.st-key-closer').getBoundingClientRect()
  return Math.abs(y - 75) < 9
}"""


def test_a_link_to_a_view_leads_there_and_moves_nothing(
    open_page: OpenPage, console: Console
) -> None:
    """What is below waits for the view: it would move by 0.5 else. What is above is drawn first."""
    page = open_page("?model=lenet5&layer=conv2.weight&closer=Filters", width=800)
    table = page.locator(".st-key-layer_table canvas").first
    page.get_by_text("kernel by kernel").wait_for()
    expect(table).to_be_visible()
    settled(page)
    page.wait_for_function(AT_THE_TOP)
    assert moved(page) < MOST_SHIFT
    no_traceback(page, console)
