"""Runs in the background: found in a new tab, and stopped.

Another process continues a study whose process was killed (tests/core/studies/test_runner.py), and
so does the page (tests/explorer/pages/methods/test_page.py).
"""

from playwright.sync_api import Locator, Page

from tests.browser.app_page import go, no_traceback, slide
from tests.browser.conftest import LONG, Console, OpenPage

ENDLESS = "finetune?model=vgg&fine_tune=epochs~200"


def button(page: Page, key: str) -> Locator:
    return page.locator(f".st-key-{key}").get_by_role("button")


def started(page: Page) -> Locator:
    """Starts a fine-tuning run and returns its stop button."""
    button(page, "tune_start").click()
    button(page, "tune_stop").wait_for(timeout=LONG)
    return button(page, "tune_stop")


def test_a_run_goes_on_until_its_browser_stops_it(open_page: OpenPage, console: Console) -> None:
    """While other widgets are used, and in a new tab when the first is closed, which keeps nothing
    of the page, as a reload does; another browser has no run, also when its page is drawn anew.
    """
    page = open_page(ENDLESS)
    other = open_page(ENDLESS, another=True)
    console.clear()  # Streamlit asks for its files below a page's address first
    stop = started(page)
    page.locator(".st-key-sparsity").get_by_role("slider").press("ArrowRight")
    go(page, "Export")
    go(page, "Fine-tune & compare")
    stop.wait_for()
    no_traceback(page, console)
    reopened = page.context.new_page()
    reopened.goto(page.url)
    page.close()
    stop = button(reopened, "tune_stop")
    stop.wait_for(timeout=LONG)
    slide(other, "sparsity", 1)
    other.get_by_text("No run yet").wait_for()
    console.listen(reopened)
    console.clear()  # as above
    stop.click()
    reopened.get_by_text("The run was stopped").wait_for(timeout=LONG)
    slide(other, "sparsity", -1)
    other.get_by_text("No run yet").wait_for()
    no_traceback(reopened, console)
    no_traceback(other, console)
    reopened.close()
