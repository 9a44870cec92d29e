"""What holds for the app as a whole: hand-edited addresses, forms that keep their values while
other pages are shown, no page wider than its window, no text cut off, no layout that moves, all
accessible. A tab opened later sees nothing of it.
"""

import re
from collections import Counter

from playwright.sync_api import Locator, Page, expect

from explorer.charts.patterns import flat_png
from explorer.charts.raster import data_uri
from explorer.session.axis_forms import families
from tests.browser.app_page import (
    card,
    go,
    leave_bare,
    no_traceback,
    pick,
    the_first_load_moves_little,
)
from tests.browser.audit import CONTRAST, MOST_SHIFT, accessible, moved
from tests.browser.conftest import Console, OpenPage, dressed, settled, shot

TITLES = (
    "Sensitivity",
    "Methods",
    "Fine-tune & compare",
    "Flows",
    "Search",
    "Runs",
    "Export",
)
"""The forms of training are shown one after the other; one of them again at the end."""
TRAINING = {"tune_epochs": "3", "tune_lr": "0.01", "tune_batch_size": "32", "tune_rounds": "1"}
FORMS = {
    "Fine-tune & compare": TRAINING,
    "Flows": TRAINING,
    "Methods": TRAINING | {"study_seeds": "3"},
}
OPENED = """() => !document.getAnimations().some(
  each => each.effect?.target?.tagName === 'DETAILS' && each.playState === 'running')"""
"""An expander slides open for half a second, and is drawn closed once at its end."""
BUSY = """() => document.addEventListener('click', ({ target }) => {
  if (target.closest('a')) setTimeout(() => {
    const end = performance.now() + 250
    while (performance.now() < end);
  }, 50)
}, { capture: true, once: true })"""
"""What the server sends meanwhile is drawn at once, in place of the page before: a part of one page
must not become a part of another.
"""
PICTURES = "all => all.map(each => getComputedStyle(each, '::before').maskImage.slice(5, -2))"
LINES = "all => all.map(each => each.getBoundingClientRect().top)"
TOPS = """css => {
  const roots = root => [root, ...[...root.querySelectorAll('*')]
    .flatMap(each => each.shadowRoot ? roots(each.shadowRoot) : [])]
  const elements = roots(document).flatMap(root => [...root.querySelectorAll(css)])
  const visible = elements.filter(each => each.checkVisibility())
  return visible.map(each => each.getBoundingClientRect().y)
}"""
"""Where each of the elements begins, in pixels; `.lab` is in a shadow tree."""
NARROW_SHIFT = 0.08
"""The limit for the first load in a narrow window, where a map of several lines moves most: it
moves by 0.05 to 0.065, and by 0.11 where the lab has no place before.
"""
CLIPPED = """() => {
  const all = document.querySelectorAll('[data-testid=stMain] *, [data-testid=stSidebar] *')
  return [...all].filter(each => each.checkVisibility() &&
    !each.closest('[data-testid=stDataFrame]') && each.scrollWidth > each.clientWidth + 1 &&
    (each.tagName === 'INPUT' || getComputedStyle(each).textOverflow === 'ellipsis')
  ).map(each => each.value || each.innerText).filter(Boolean)
}"""
"""The texts that are cut off, outside of tables."""
FITS = """() => {
  const main = document.querySelector('[data-testid=stMain]')
  return main && main.scrollWidth <= main.clientWidth + 1
}"""


def field(page: Page, key: str) -> Locator:
    return page.locator(f".st-key-{key} input")


def shows(page: Page, values: dict[str, str]) -> None:
    for key, value in values.items():
        expect(field(page, key)).to_have_value(value)


def switch(page: Page, title: str) -> None:
    """To another page, whose layout does not move by itself, also in a browser that is busy."""
    moved(page)
    page.evaluate(BUSY)
    go(page, title)
    assert moved(page) < MOST_SHIFT, title
    assert page.get_by_test_id("stMain").evaluate("each => each.scrollTop") == 0, title


def visit(page: Page, title: str, *, again: bool = False, **changed: str) -> None:
    """Goes there, and finds the values of its form but for those changed. again: what was opened
    before is open.
    """
    switch(page, title)
    if title == "Methods":
        training = page.locator("details").filter(has_text="Training of every run").first
        assert training.evaluate("each => each.open") is again
        if not again:
            page.get_by_text("Training of every run").click()
        page.wait_for_function(OPENED)
    shows(page, FORMS.get(title, {}) | changed)


def a_hand_edited_address_is_reported_and_the_app_goes_on(page: Page, console: Console) -> None:
    for words in ("outside", "kernal", "resnet21", "cifar11"):
        page.get_by_text(re.compile(words)).first.wait_for()
    no_traceback(page, console)
    pick(page, "model", "LeNet-5")
    expect(card(page, "Accuracy")).to_have_text(re.compile(r"^[\d.]+%$"))
    no_traceback(page, console)


def the_pictures_are_side_by_side(page: Page) -> None:
    """And the accuracy and the image are just above the lab's slider."""
    assert len({round(top) for top in page.evaluate(TOPS, ".lab figure")}) == 1
    (slider,) = page.evaluate(TOPS, ".lab .slider")
    for above in (".st-key-repaired_line", ".st-key-picture"):
        (top,) = page.evaluate(TOPS, above)
        assert 0 < slider - top < 450


def every_granularity_has_its_picture(page: Page) -> None:
    """Beside its label in the menu."""
    page.locator(".st-key-granularity").get_by_role("combobox").click()
    menu = page.get_by_test_id("stSelectboxVirtualDropdown").locator("[data-item-hl]")
    menu.first.wait_for()
    shown = menu.evaluate_all(PICTURES)
    drawn = [data_uri(flat_png(entry)) for entry in families().values()]
    assert shown
    assert shown == drawn[: len(shown)]
    page.keyboard.press("Escape")


def open_dropout(page: Page) -> None:
    page.locator(".st-key-closer").get_by_text("Dropout").click()


def the_focus_of_a_link_to_a_page_is_visible(page: Page) -> None:
    link = page.get_by_role("link", name="Sensitivity")
    link.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    expect(link).to_be_focused()
    expect(link).to_have_css("outline-style", "solid")


def fits(page: Page, name: str, theme: str, width: int) -> None:
    """Nothing sticks out at that width, once all is drawn anew."""
    settled(dressed(page, theme, width))
    page.wait_for_function(FITS)
    shot(page, f"{name}-{theme}-{width}")
    assert page.evaluate(CLIPPED) == []


def is_named(page: Page, title: str) -> None:
    """The navigation says which page is shown: its link, or the menu that holds its link."""
    menu = page.get_by_role("button", name=f"{title} · ")
    expect(page.get_by_role("link", name=title, exact=True).or_(menu)).to_be_visible()


def fits_wide_and_narrow(page: Page, title: str) -> None:
    """And is accessible in both themes. The side bar is the same on all pages: looked at once.

    The page is left narrow, in the theme that it did not have before: to change it takes long.
    """
    part = "body" if title == "Explore" else "[data-testid=stMain]"
    name = title.split()[0].lower()
    was_dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    first, second = ("dark", "light") if was_dark else ("light", "dark")
    fits(page, name, first, 1440)
    accessible(page, within=part)
    fits(page, name, second, 800)
    is_named(page, title)
    if title == "Explore":
        rows = Counter(page.get_by_test_id("stMetric").evaluate_all(LINES)).values()
        assert len(set(rows)) == 1, "a card is alone in its row"
    accessible(page, only=CONTRAST, within=part)


def change_its_form(page: Page, title: str) -> None:
    """What the pages after it must not undo."""
    if title == "Sensitivity":
        page.locator(".st-key-tied label").click()
    elif title == "Flows":
        page.locator(".st-key-tune_epochs").get_by_test_id("stNumberInputStepUp").click()
    settled(page)


def a_lesson_by_keyboard(page: Page) -> None:
    """A lesson is opened, dragged and answered with keys alone. test_lessons.py finds each of them
    accessible.
    """
    go(page, "Learn")
    page.locator(".st-key-open_granularity button").press("Enter")
    page.wait_for_url(re.compile("lesson=granularity"))
    page.get_by_role("slider").press("ArrowRight")
    page.get_by_text("All patterns remove 75%").wait_for()
    page.locator(".st-key-predict_granularity").get_by_role("radio").first.press("Space")
    page.get_by_text("Not quite").wait_for()
    for width in (1440, 800):
        fits(page, "learn", "light", width)
    is_named(page, "Learn")


def changed_forms_kept_their_values(page: Page) -> None:
    """In a wide window; all pages were reached from a narrow one before."""
    settled(dressed(page, "light", 1440))
    the_focus_of_a_link_to_a_page_is_visible(page)
    leave_bare(page, page.get_by_role("link", name="Sensitivity"))
    expect(field(page, "tied")).not_to_be_checked()
    visit(page, "Fine-tune & compare", tune_epochs="4")
    visit(page, "Methods", again=True, tune_epochs="4")
    switch(page, "Explore")
    shows(page, {"drop_pass": "7"})


def sees_nothing_of_the_first(tab: Page) -> None:
    """Although both have the same cookies."""
    open_dropout(tab)
    shows(tab, {"drop_pass": "1"})
    settled(tab)  # the view that was opened moves what is below it
    switch(tab, "Flows")
    shows(tab, FORMS["Flows"])


def test_from_a_hand_edited_address_to_every_page_and_back(
    open_page: OpenPage, console: Console
) -> None:
    """None is wider than its window, and all are reached from a narrow one: some are in a menu.

    A tab opened later sees nothing of it. It is narrow, with a map of several lines and a high lab.
    """
    address = "?sparsity=7&granularity=kernal&model=resnet21&dataset=cifar11"
    page = open_page(address)
    the_first_load_moves_little(page, MOST_SHIFT)
    a_hand_edited_address_is_reported_and_the_app_goes_on(page, console)
    every_granularity_has_its_picture(page)
    pick(page, "granularity", "Filter")
    open_dropout(page)
    field(page, "drop_pass").fill("7")
    page.keyboard.press("Enter")
    settled(page)
    fits_wide_and_narrow(page, "Explore")
    for title in TITLES:
        visit(page, title)
        page.wait_for_url(re.compile(f"/{title.split('-')[0].lower()}"))
        fits_wide_and_narrow(page, title)
        change_its_form(page, title)
        no_traceback(page, console)
    a_lesson_by_keyboard(page)
    changed_forms_kept_their_values(page)
    tab = open_page("?model=vit&granularity=head", width=800)
    the_first_load_moves_little(tab, NARROW_SHIFT)
    the_pictures_are_side_by_side(tab)
    sees_nothing_of_the_first(tab)
    no_traceback(page, console)
    no_traceback(tab, console)
