"""Two audits of a page: accessibility by axe-core, and how much its layout moved by itself."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

EXCEPTIONS = {
    "presentation-role-conflict": "an image of Streamlit's file uploader",
}
"""Rules of axe-core that a page may break, and where."""
CONTRAST = ("color-contrast", "link-in-text-block")
"""The rules whose answer a theme can change."""
AXE = Axe().axe_script
FOUND = """async ([within, options]) => Object.fromEntries(
  (await axe.run(within, options)).violations.map(
    each => [each.id, each.nodes.map(node => node.html)]))"""
"""Rules that a page breaks -> the elements that break them."""
FRESH = "() => !document.querySelector('[data-stale=true]')"
"""No element is pale because the script runs."""
MOST_SHIFT = 0.1
"""The limit of a good page in web.dev's "Cumulative Layout Shift"."""
MOVED = """() => {
  const add = entries => entries.forEach(each => globalThis.moved += each.value)
  if (globalThis.moved === undefined) {
    globalThis.moved = 0
    globalThis.shifts = new PerformanceObserver(list => add(list.getEntries()))
    globalThis.shifts.observe({ type: 'layout-shift', buffered: true })
  }
  return new Promise(done => requestAnimationFrame(() => setTimeout(() => {
    add(globalThis.shifts.takeRecords())
    done(globalThis.moved)
    globalThis.moved = 0
  })))
}"""


def accessible(page: Page, *, only: tuple[str, ...] = (), within: str = "body") -> None:
    """axe-core finds nothing but the exceptions. only: these rules; empty for all."""
    options: dict[str, object] = {"resultTypes": ["violations"]}
    if only:
        options["runOnly"] = list(only)
    if not page.evaluate("'axe' in globalThis"):
        page.evaluate(AXE)
    page.wait_for_function(FRESH)
    found = page.evaluate(FOUND, [within, options])
    assert found.keys() <= EXCEPTIONS.keys(), found


def moved(page: Page) -> float:
    """How much the layout moved since the last call, or since the page was loaded.

    What moves within half a second of the user's input counts too: a slower machine moves it later.
    """
    return float(page.evaluate(MOVED))
