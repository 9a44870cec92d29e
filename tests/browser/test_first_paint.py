"""The script and the style of the first answer, in a page without Streamlit."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from explorer.first_paint import SCRIPT, STYLE

PAGE = """<html><head></head><body>
  <div data-testid="stApp" data-test-script-state="notRunning">
    <div data-testid="stAppViewContainer">
      <div id="body"><div data-testid="stMain"></div></div>
    </div>
    <p data-stale="true" style="opacity: 0.33; transition: color 1s 0.5s">old</p>
  </div>
</body></html>"""
RUN = "state => document.querySelector('[data-testid=stApp]').dataset.testScriptState = state"
SEEN = """() => {
  const { opacity, transitionDelay } = getComputedStyle(document.querySelector('[data-stale]'))
  return [opacity, transitionDelay]
}"""
MARGIN = "() => getComputedStyle(document.getElementById('body')).marginLeft"
ADD = """([place, testid]) => {
  const part = Object.assign(document.createElement('div'), { innerHTML: '<p></p>' })
  part.dataset.testid = testid
  document.querySelector(place).prepend(part)
}"""


@pytest.fixture
def plain(browser: Browser) -> Iterator[Page]:
    """The style without the script, as at an address that is no page."""
    page = browser.new_page(viewport={"width": 1000, "height": 600})
    page.clock.install()
    page.set_content(PAGE)
    page.add_style_tag(content=STYLE.read_text(encoding="utf-8"))
    yield page
    page.close()


@pytest.fixture
def page(plain: Page) -> Page:
    plain.evaluate("document.documentElement.toggleAttribute('data-first-paint', true)")
    plain.add_script_tag(content=SCRIPT.read_text(encoding="utf-8"))
    return plain


def run(page: Page, state: str, milliseconds: int) -> list[str]:
    """The opacity of an old element and its delay, so long after the script's state changed."""
    page.evaluate(RUN, state)
    page.clock.run_for(milliseconds)
    shown: list[str] = page.evaluate(SEEN)
    return shown


def test_what_is_old_is_pale_only_in_a_long_run(page: Page) -> None:
    plain = ["1", "0s"]
    pale = ["0.33", "0s"]
    assert run(page, "running", 400) == plain
    assert run(page, "notRunning", 400) == plain
    assert run(page, "running", 400) == plain  # each run has its own time
    page.clock.run_for(100)
    assert page.evaluate(SEEN) == pale
    assert run(page, "notRunning", 0) == plain
    page.clock.run_for(1000)
    assert page.evaluate(SEEN) == plain


def test_without_motion_nothing_is_pale_for_a_moment_only(page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    assert run(page, "running", 600) == ["0.33", "0.5s"]


def test_without_the_script_streamlits_own_style_holds(plain: Page) -> None:
    assert plain.evaluate(MARGIN) == "0px"
    assert run(plain, "running", 100) == ["0.33", "0.5s"]


@pytest.mark.parametrize(
    ("place", "part"),
    [
        ("[data-testid=stAppViewContainer]", "stSidebar"),
        ("[data-testid=stMain]", "stElementContainer"),
    ],
)
def test_the_side_bar_has_its_place_until_the_page_is_drawn(
    page: Page, place: str, part: str
) -> None:
    assert page.evaluate(MARGIN) == "281.25px"
    page.evaluate(ADD, [place, part])
    assert page.evaluate(MARGIN) == "0px"
