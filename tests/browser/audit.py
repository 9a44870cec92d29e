"""Audits of a page: accessibility by axe-core, how much its layout moved by itself, and how much
there is on its first screen.
"""

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
FADED = """() => !document.getAnimations().some(
  each => each instanceof CSSTransition && each.playState === 'running')"""
"""The ends of a slider fade in while it has the focus. A promise `finished` may never come."""
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
FIRST_SCREEN = """high => {
  const roots = root => [root, ...[...root.querySelectorAll('*')]
    .flatMap(each => each.shadowRoot ? roots(each.shadowRoot) : [])]
  const shown = (element, box) => {
    const hidden = '[inert], [aria-hidden=true], [data-testid=stIconMaterial], svg'
    if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) return false
    if (element.closest(hidden)) return false
    for (let each = element; each; each = each.parentElement ?? each.getRootNode().host) {
      const around = each.getBoundingClientRect()
      if (getComputedStyle(each).overflow !== 'visible' && each !== document.body &&
        (box.right <= around.left || box.left >= around.right || around.width < 2 ||
        box.bottom <= around.top || box.top >= around.bottom)) return false
    }
    return box.width > 1 && box.height > 1 && box.top >= 0 && box.top < high
  }
  const controls = new Map()
  const words = []
  for (const root of roots(document)) {
    for (const each of root.querySelectorAll('a, button, input, summary, [tabindex="0"]')) {
      const drawn = each.closest('label') ?? each
      const help = each.closest('[data-testid=stTooltipIcon], [data-testid=stMain][tabindex]')
      if (each.tabIndex < 0 || each.disabled || help === each || help?.contains(each)) continue
      if (!shown(drawn, drawn.getBoundingClientRect())) continue
      const one = each.closest('[role=radiogroup], [role=listbox]') ?? (each.name || each)
      controls.set(one, each.ariaLabel || drawn.innerText || each.value || each.tagName)
    }
    const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT)
    while (texts.nextNode()) {
      const range = document.createRange()
      range.selectNodeContents(texts.currentNode)
      const found = texts.currentNode.data.match(/[^\\s]*\\p{L}{2}[^\\s]*/gu) ?? []
      const parent = texts.currentNode.parentElement
      if (found.length && parent && shown(parent, range.getBoundingClientRect()))
        words.push(...found)
    }
  }
  return [[...controls.values()].map(each => each.trim()), words]
}"""


def first_screen(page: Page) -> tuple[list[str], list[str]]:
    """What the first 900 pixels show, the side bar and the navigation included: controls and words.

    A control is what the Tab key reaches and changes something: help marks are none, and the radio
    buttons of one choice are one. A word has two letters; values in fields, icons, and the names
    of layers in the map's picture are none.
    """
    controls, words = page.evaluate(FIRST_SCREEN, 900)
    return controls, words


def accessible(page: Page, *, only: tuple[str, ...] = (), within: str = "body") -> None:
    """axe-core finds nothing but the exceptions. only: these rules; empty for all.

    The only rule that needs the text of style sheets, which take long to read, is about pages that
    are locked to one orientation.
    """
    options: dict[str, object] = {"resultTypes": ["violations"], "preload": within == "body"}
    if only:
        options["runOnly"] = list(only)
    if not page.evaluate("'axe' in globalThis"):
        page.evaluate(AXE)
    page.wait_for_function(FRESH)
    page.wait_for_function(FADED)
    found = page.evaluate(FOUND, [within, options])
    assert found.keys() <= EXCEPTIONS.keys(), found


def moved(page: Page) -> float:
    """How much the layout moved since the last call, or since the page was loaded.

    What moves within half a second of the user's input counts too: a slower machine moves it later.
    """
    return float(page.evaluate(MOVED))
