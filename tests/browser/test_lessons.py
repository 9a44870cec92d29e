"""Every lesson of the page Learn in both languages, by keyboard alone, and accessible."""

import re

from playwright.sync_api import Page, expect

from explorer.first_paint import scripts
from explorer.pages.learn.lessons import LESSONS
from explorer.texts.lessons import Words, text
from tests.browser.app_page import leave_bare, no_traceback
from tests.browser.audit import CONTRAST, MOST_SHIFT, accessible, moved
from tests.browser.conftest import Console, OpenPage, change_address, dressed, settled, shot
from tests.browser.test_pages import FITS

MAIN = "[data-testid=stMain]"
NAMES = list(LESSONS)
CLOSED = """() => {
  const link = Object.assign(document.createElement('a'), { href: '/flows' })
  link.onclick = event => event.preventDefault()
  document.body.append(link)
  localStorage['stSidebarCollapsed-/'] = 'true'
  link.click()
  link.remove()
  delete localStorage['stSidebarCollapsed-/']
  return document.documentElement.matches('[data-leaves]')
}"""
"""Does a side bar that the user closed get a place?"""


def shows(page: Page, name: str, language: str) -> None:
    """The lesson's title, figure and sentences."""
    number = NAMES.index(name) + 1
    title = f"{number} · {text(f'{name}.title', language)}"
    page.get_by_role("heading", name=title, exact=True).wait_for()
    settled(page)
    figure = page.locator(f".st-key-chart_{name} svg, {MAIN} [role=figure]")
    figure.first.wait_for()


def drag(page: Page, name: str) -> None:
    """The control, by keys. In Chinese: tests/explorer/pages/learn/test_learn.py."""
    slider = page.get_by_role("slider")
    before = slider.input_value()
    slider.press("ArrowRight" if before == slider.get_attribute("min") else "ArrowLeft")
    settled(page)
    expect(slider).not_to_have_value(before)


def answer(page: Page, name: str, words: Words) -> None:
    """The question, by keys."""
    page.locator(f".st-key-predict_{name}").get_by_role("radio").first.press("Space")
    verdicts = (text(f"page.{word}", words.language) for word in ("right", "wrong"))
    either = re.compile("|".join(re.escape(verdict) for verdict in verdicts))
    page.get_by_test_id("stAlert").filter(has_text=either).wait_for()


def accessible_and_fits(page: Page, name: str, language: str) -> None:
    """All rules of axe-core once for each lesson; the colours of both themes."""
    page.wait_for_function(FITS)
    shot(page, f"lesson-{name}-{language}")
    accessible(page, only=() if language == "zh" else CONTRAST, within=MAIN)


def press(page: Page, label: str) -> None:
    page.get_by_role("button", name=label).press("Enter")


def the_link_of_a_lesson_leads_to_what_it_is_about(page: Page) -> None:
    """The scripts of other pages are there before."""
    expect(page.locator("head > link[fetchpriority=low]")).to_have_count(len(scripts()))
    assert not page.evaluate(CLOSED)
    leave_bare(page, page.get_by_role("link", name=text("granularity.link", "en")))
    page.wait_for_url(re.compile("closer=Granularities"))
    view = page.locator(".st-key-closer")
    expect(view.get_by_role("radio", name="Granularities")).to_be_checked()
    expect(view).to_be_in_viewport()


def test_every_lesson_in_both_languages_by_keyboard(open_page: OpenPage, console: Console) -> None:
    """English forwards in a wide dark window; Chinese backwards in a narrow light one. Before, one
    is left by its link.
    """
    page = open_page("learn?lesson=granularity&lang=en")
    assert moved(page) < MOST_SHIFT
    console.clear()  # Streamlit first asks for its health below the page's path, which is a 404
    the_link_of_a_lesson_leads_to_what_it_is_about(page)
    dressed(change_address(page, f"/learn?lesson={NAMES[0]}&lang=en"), "dark", 1440)
    for before, name in zip([None, *NAMES], NAMES, strict=False):
        if before:
            title = text(f"{name}.title", "en")
            press(page, text("page.after", "en", title=title))
        shows(page, name, "en")
        drag(page, name)
        answer(page, name, Words("en", name))
        accessible_and_fits(page, name, "en")
    dressed(page, "light", 800)
    page.get_by_role("radio", name="中文").press("Space")
    for after, name in zip([None, *reversed(NAMES)], reversed(NAMES), strict=False):
        if after:
            press(page, text("page.before", "zh", title=text(f"{name}.title", "zh")))
        shows(page, name, "zh")
        answer(page, name, Words("zh", name))
        accessible_and_fits(page, name, "zh")
    page.wait_for_url(re.compile("lang=zh"))
    no_traceback(page, console)
